"""Each guard in the scripts is held by a law: without it, schedules like those of ``test_scripts`` disagree."""

from __future__ import annotations

import random
from hashlib import sha1

import pytest

from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.store import scripts
from tests.laws.steps import KINDS, Step
from tests.laws.twin import DisagreementError, Server, Twin

DEAD = "if deadline > now and deadline <= now + LONGEST_MS then"

MOST_SCHEDULES = 300
STEPS_EACH = 32

SEES_ROW_INTENT = "if model_intents or live_intents(entry, now) then"
CHECKS_LEASE = "if get(lease_key) ~= token or live_intents(get(entry_key), now) then"
WAITS = "if not lease or #lease ~= #token or lease == token or lease == steal then"
VALUE_IS_SERVED = "if value_nonce(entry) == nonce and (seen == '' or redis.sha1hex(entry) ~= seen) then"
EPOCH_IS_OURS = "string.sub(raw, 1, 2) ~= '\\202G' or string.sub(raw, 11, 18) ~= run then"
NOTHING_LIVE = "if not live then return 0, true end"
EXTENDS = "if extend and redis.call('PTTL', KEYS[1]) < epoch_ms / 2 then"

MUTATIONS = [
    # the model's own guards
    pytest.param("acquire", SEES_ROW_INTENT, "if model_intents then", id="acquire-sees-intent"),
    pytest.param("fill", CHECKS_LEASE, "if live_intents(get(entry_key), now) then", id="fill-checks-lease"),
    pytest.param("intent", "live = live or {}\n  live[token]", "live = {}\n  live[token]", id="token-set"),
    pytest.param(
        "intent_all", "live = live or {}\n  live[token]", "live = {}\n  live[token]", id="token-set-of-a-model"
    ),
    pytest.param("intent", "redis.call('DEL', unpack(KEYS, rows + 1))", "", id="intent-voids-lease"),
    pytest.param("release", NOTHING_LIVE, NOTHING_LIVE.replace("true", "false"), id="release-acts-on-anything"),
    pytest.param("release_all", NOTHING_LIVE, NOTHING_LIVE.replace("true", "false"), id="release-all-acts-on-anything"),
    pytest.param("acquire", EPOCH_IS_OURS, "string.sub(raw, 1, 2) ~= '\\202G' then", id="epoch-carries-run"),
    # acquire
    pytest.param("acquire", SEES_ROW_INTENT, "if live_intents(entry, now) then", id="acquire-sees-model-intent"),
    pytest.param("acquire", VALUE_IS_SERVED, "if value_nonce(entry) == nonce then", id="seen-is-replaced"),
    pytest.param(
        "acquire", VALUE_IS_SERVED, "if value_nonce(entry) == nonce and seen == '' then", id="seen-is-compared"
    ),
    pytest.param(
        "acquire",
        VALUE_IS_SERVED,
        VALUE_IS_SERVED.replace("value_nonce(entry) == nonce", "value_nonce(entry)"),
        id="value-is-of-the-epoch",
    ),
    pytest.param("acquire", WAITS, WAITS.replace(" or lease == steal", ""), id="steal-takes-over"),
    pytest.param(
        "acquire", WAITS, WAITS.replace("lease == steal", "steal ~= ''"), id="steal-takes-only-what-it-watched"
    ),
    pytest.param("acquire", WAITS, WAITS.replace(" or lease == token", ""), id="own-lease-is-own"),
    pytest.param("acquire", WAITS, WAITS.replace(" or #lease ~= #token", ""), id="garbage-is-no-lease"),
    pytest.param("acquire", WAITS, "if true then", id="one-lease-at-a-time"),
    pytest.param(
        "acquire", "struct.pack('>I4', (t[1] * 1000000 + t[2]) % 4294967296)", "'same'", id="nonce-comes-once"
    ),
    pytest.param("acquire", ", 'PX', epoch_ms", "", id="epoch-expires"),
    pytest.param("acquire", ", 'PX', lease_ms", "", id="lease-expires"),
    pytest.param("acquire", "'\\202N' or #raw ~= 18", "'\\202N'", id="missing-row-has-no-body"),
    pytest.param("acquire", "#raw < 18", "#raw < 10", id="truncated-is-no-value"),
    pytest.param("acquire", "#raw ~= 18 or string.sub", "string.sub", id="epoch-has-its-length"),
    # fill
    pytest.param("fill", CHECKS_LEASE, "if get(lease_key) ~= token then", id="fill-sees-intent"),
    pytest.param("fill", "redis.call('DEL', lease_key)", "", id="fill-ends-the-lease"),
    pytest.param("fill", ", 'PX', life_ms", "", id="value-expires"),
    pytest.param("fill", EXTENDS, "if false then", id="fill-extends-the-epoch"),
    # abandon
    pytest.param("abandon", "if get(key) == ARGV[1] then", "if get(key) then", id="abandon-only-ones-own"),
    pytest.param(
        "abandon", "redis.call('DEL', key) end\nend\nreturn", "0 end\nend\nreturn", id="abandon-ends-the-lease"
    ),
    # intents
    pytest.param("intent", "alone, 'PX', intent_ms, 'GET'", "alone, 'KEEPTTL', 'GET'", id="intent-expires"),
    pytest.param("intent", "'PX', latest - now", "'PX', 1", id="two-intents-expire-with-the-last"),
    pytest.param("intent_all", "'PX', latest - now", "'KEEPTTL'", id="model-intent-expires"),
    pytest.param("intent", DEAD, "if true then", id="dead-intents-go-with-an-intent"),
    pytest.param("acquire", DEAD, "if true then", id="dead-intents-stop-nobody"),
    pytest.param("fill", DEAD, "if true then", id="dead-intents-refuse-no-fill"),
    pytest.param("release", "live[token] = nil", "live = {}", id="release-keeps-others"),
    pytest.param("release_all", "live[token] = nil", "live = {}", id="release-all-keeps-others"),
    pytest.param("release", "if not is_over then", "if false then", id="release-keeps-strangers"),
    pytest.param("release", "held == 1 and is_over then", "held == 1 then", id="release-takes-no-row-for-another"),
    pytest.param("release", "raw ~= mine then", "false then", id="release-looks-at-each-row"),
    pytest.param("release", "unpack(gone))", "unpack(gone, 1, rows))", id="release-voids-lease"),
    pytest.param("release", "1 - held", "1", id="release-counts-what-is-missing"),
    # flush
    pytest.param("flush", "if live_intents(get(KEYS[1]), now_ms()) then return 0 end", "", id="flush-keeps-intents"),
    pytest.param("flush", "return redis.call('DEL', KEYS[1])", "return 0", id="flush-drops-the-epoch"),
]

ABSENT = "if string.find(found.err, 'WRONGTYPE', 1, true) then return false end"

FATAL_MUTATIONS = [
    *[
        pytest.param(script.name, ABSENT, "", "WRONGTYPE", id=f"{script.name}-finds-wrong-type-absent")
        for script in scripts.ROW_SCRIPTS
        if script not in (scripts.INTENT, scripts.RELEASE)  # SET says so, and MGET finds it so by itself
    ],
    pytest.param("intent", "if raw and raw.err then", "if false then", "bad argument", id="intent-replaces-wrong-type"),
    pytest.param("release", DEAD, "if true then", "invalid expire time", id="release-drops-dead-intents"),
]


def mutate(name: str, guard: str, replacement: str) -> scripts.Script:
    """The script without a guard that stands in it exactly once: a changed script makes its mutations fail loudly."""
    intact: scripts.Script = getattr(scripts, name.upper())
    assert intact.text.count(guard) == 1, f"{name} has {intact.text.count(guard)} times: {guard}"
    text = intact.text.replace(guard, replacement)
    return scripts.Script(name, text, sha1(text.encode()).hexdigest())


def schedule(seed: int) -> list[Step]:
    draw = random.Random(seed)
    return [draw.choice(draw.choice(KINDS)) for _ in range(STEPS_EACH)]


def play_many(server: Server) -> None:
    for seed in range(MOST_SCHEDULES):
        Twin(server).play(schedule(seed))


class TestGuards:
    @pytest.mark.parametrize(("name", "guard", "replacement"), MUTATIONS)
    def test_is_missed(
        self, name: str, guard: str, replacement: str, valkey: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A script that fails to run would prove nothing: only a disagreement counts."""
        monkeypatch.setattr(scripts, name.upper(), mutate(name, guard, replacement))
        with pytest.raises(DisagreementError):
            play_many(valkey)

    @pytest.mark.parametrize(("name", "guard", "replacement", "refusal"), FATAL_MUTATIONS)
    def test_is_missed_by_the_server(
        self, name: str, guard: str, replacement: str, refusal: str, valkey: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without these the script itself fails, in the way that the guard is there to avoid."""
        monkeypatch.setattr(scripts, name.upper(), mutate(name, guard, replacement))
        with pytest.raises(StoreUnavailableError, match=refusal):
            play_many(valkey)

    def test_none_missing_is_no_disagreement(self, valkey: Server) -> None:
        """The same schedules hold with the scripts intact."""
        for seed in range(MOST_SCHEDULES // 10):
            Twin(valkey).play(schedule(seed))
