"""What a reader does with the bytes that it finds: the same as the model, for whatever bytes."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from django_cacheaside.store.envelope import FRESH_UNTIL, HEADER_SIZE, Found, fresh_until, is_intents, is_stale, judge
from tests.laws import model
from tests.laws.mapping import entry_in, epoch_in

NOW = int(time.time() * 1000)
RUN, OTHER_RUN = b"this run", b"that run"
NONCE, OTHER_NONCE = b"this one", b"that one"
INTENT = b"writer-one.." + struct.pack(">Q", NOW + 60_000)
EPOCH = b"\xcaG" + NONCE + RUN
VALUE = b"\xcaV" + NONCE + bytes(8) + b"schema-1" + b"row"
MISSING = b"\xcaN" + NONCE + bytes(8)

nonces = st.sampled_from([NONCE, OTHER_NONCE])
intent_sets = st.integers(1, 3).map(lambda count: b"\xcaW" + INTENT * count)
epochs = st.builds(lambda nonce, run: b"\xcaG" + nonce + run, nonces, st.sampled_from([RUN, OTHER_RUN]))
values = st.builds(lambda nonce, body: b"\xcaV" + nonce + body, nonces, st.binary(min_size=8, max_size=30))
missing = st.builds(lambda nonce: b"\xcaN" + nonce + bytes(8), nonces)
garbage = st.one_of(
    st.binary(max_size=60).filter(lambda raw: not is_intents(raw)),
    st.builds(lambda raw, at: raw[:at], st.one_of(epochs, values, missing), st.integers(0, 18)),
    st.builds(lambda raw, more: raw + more, st.one_of(epochs, missing), st.binary(max_size=3)),
    st.builds(lambda raw, at: raw[:at], intent_sets, st.integers(0, 21)),
)
anything = st.one_of(st.none(), intent_sets, epochs, values, missing, garbage)


class TestJudge:
    @settings(max_examples=600, deadline=None, derandomize=True, database=None)
    @given(epoch=anything, entry=anything)
    @example(epoch=EPOCH, entry=VALUE)
    @example(epoch=EPOCH, entry=VALUE[:HEADER_SIZE])
    @example(epoch=EPOCH, entry=VALUE[: HEADER_SIZE - 1])
    @example(epoch=EPOCH, entry=MISSING + b"trailing")
    def test_agrees_with_the_model(self, epoch: bytes | None, entry: bytes | None) -> None:
        known = epoch_in(epoch, NOW)
        found = entry_in(entry, NOW)
        if found is not None and found[0] == "V":  # an entry carries the nonce only: the run is that of its epoch
            run = known[1] if known is not None and known[0] == found[2] else b""
            found = (*found[:2], (found[2], run))
        wanted = model.read(model.Keys(found, None, known), RUN)
        got = judge(RUN, epoch, entry)
        assert (Found.HIT if got is Found.NEGATIVE_HIT else got).name == wanted

    @pytest.mark.parametrize(
        ("epoch", "entry", "found"),
        [
            pytest.param(EPOCH, VALUE, Found.HIT, id="value"),
            pytest.param(EPOCH, MISSING, Found.NEGATIVE_HIT, id="known-to-be-missing"),
            pytest.param(EPOCH, None, Found.MISS, id="no-entry"),
            pytest.param(None, VALUE, Found.MISS, id="no-epoch"),
            pytest.param(None, None, Found.MISS, id="nothing"),
            pytest.param(b"\xcaG" + OTHER_NONCE + RUN, VALUE, Found.MISS, id="flushed-since"),
            pytest.param(b"\xcaG" + NONCE + OTHER_RUN, VALUE, Found.MISS, id="server-came-back-from-a-snapshot"),
            pytest.param(EPOCH, b"\xcaW" + INTENT, Found.BYPASS, id="row-is-being-written"),
            pytest.param(b"\xcaW" + INTENT, VALUE, Found.BYPASS, id="model-is-being-written"),
            pytest.param(b"\xcaW" + INTENT * 2, b"\xcaW" + INTENT, Found.BYPASS, id="both"),
            pytest.param(EPOCH, b"\xcaW" + INTENT[:-1], Found.MISS, id="truncated-intent"),
            pytest.param(EPOCH, b"\xcaW", Found.MISS, id="no-intent-at-all"),
            pytest.param(EPOCH, b"\x80\x05K*.", Found.MISS, id="pickle"),
            pytest.param(EPOCH, EPOCH, Found.MISS, id="epoch-as-entry"),
            pytest.param(VALUE[:10] + RUN, VALUE, Found.MISS, id="value-as-epoch"),
        ],
    )
    def test_each_case_has_its_name(self, epoch: bytes | None, entry: bytes | None, found: Found) -> None:
        assert judge(RUN, epoch, entry) is found


class TestIsStale:
    @given(now_ms=st.integers(0, 2**63), until_ms=st.integers(0, 2**63), body=st.binary(max_size=30))
    def test_bytes_compare_as_times_do(self, now_ms: int, until_ms: int, body: bytes) -> None:
        """As the script packs them: it is stale from the moment on that it names."""
        value = b"\xcaV" + NONCE + struct.pack(">Q", until_ms) + body
        assert value[FRESH_UNTIL] == fresh_until(until_ms)
        assert is_stale(value, now_ms) == (until_ms <= now_ms)
        assert is_stale(value, until_ms)
