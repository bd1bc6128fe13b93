"""What is remembered of the columns of others, for how long, and when one's own are told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from django_cacheaside.engine.schema import (
    GONE_S,
    LOOK_AGAIN_S,
    MOST_KNOWN,
    RECORD_S,
    RENEWAL_S,
    REPAIR_S,
    Fit,
    Schemas,
)
from django_cacheaside.exceptions import (
    FewerColumnsError,
    OtherColumnsError,
    UndecodableEntryError,
    UnknownColumnsError,
)

MORE, FEWER, OTHER = b"fp-more.", b"fp-fewer", b"fp-other"


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def sleep_s(self, duration_s: float, /) -> None:
        self.now_s += duration_s


def decode(payload: bytes) -> str:
    return payload.decode()


def compare(fingerprint: bytes, record: bytes) -> Callable[[bytes], str] | Fit:
    if record != b"of " + fingerprint:
        raise UndecodableEntryError
    return {FEWER: Fit.FEWER, OTHER: Fit.OTHER}.get(fingerprint, decode)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def schemas(clock: FakeClock) -> Schemas[str]:
    return Schemas(b"fp-mine.", b"of fp-mine.", compare, clock)


class TestDecoder:
    def test_of_a_stranger_asks_for_its_record(self, schemas: Schemas[str]) -> None:
        with pytest.raises(UnknownColumnsError) as raised:
            schemas.decoder(MORE)
        assert raised.value.fingerprint == MORE

    def test_of_more_columns_is_known_for_ever(self, schemas: Schemas[str], clock: FakeClock) -> None:
        schemas.learn(MORE, b"of " + MORE)
        clock.sleep_s(1e9)
        assert schemas.decoder(MORE)(b"row") == "row"

    def test_of_fewer_columns_is_refused_for_ever(self, schemas: Schemas[str], clock: FakeClock) -> None:
        schemas.learn(FEWER, b"of " + FEWER)
        clock.sleep_s(1e9)
        with pytest.raises(FewerColumnsError):
            schemas.decoder(FEWER)

    def test_of_other_columns_asks_again_whether_they_are_still_there(
        self, schemas: Schemas[str], clock: FakeClock
    ) -> None:
        schemas.learn(OTHER, b"of " + OTHER)
        clock.sleep_s(GONE_S - 1)
        with pytest.raises(OtherColumnsError):
            schemas.decoder(OTHER)
        clock.sleep_s(1)
        with pytest.raises(UnknownColumnsError):
            schemas.decoder(OTHER)
        schemas.learn(OTHER, None)
        with pytest.raises(UndecodableEntryError, match="nobody describes"):
            schemas.decoder(OTHER)

    @pytest.mark.parametrize("record", [None, b"", b"of another", b"x" * 1000])
    def test_without_its_record_is_refused_for_a_while(
        self, schemas: Schemas[str], clock: FakeClock, record: bytes | None
    ) -> None:
        """Then it is looked for again: it may have been evicted, and told anew."""
        schemas.learn(MORE, record)
        clock.sleep_s(LOOK_AGAIN_S - 1)
        with pytest.raises(UndecodableEntryError, match="nobody describes"):
            schemas.decoder(MORE)
        clock.sleep_s(1)
        with pytest.raises(UnknownColumnsError):
            schemas.decoder(MORE)
        schemas.learn(MORE, b"of " + MORE)
        assert schemas.decoder(MORE)(b"row") == "row"

    def test_is_forgotten_when_there_are_too_many(self, schemas: Schemas[str]) -> None:
        """Garbage does not push out what was learnt."""
        schemas.learn(MORE, b"of " + MORE)
        for number in range(10 * MOST_KNOWN):
            schemas.learn(b"%08d" % number, None)
        assert schemas.decoder(MORE)(b"row") == "row"
        assert len(schemas._fits) == MOST_KNOWN
        for number in range(10 * MOST_KNOWN):
            schemas.learn(b"%08d" % number, b"of %08d" % number)
        assert len(schemas._decoders) == MOST_KNOWN


class TestToSay:
    def test_is_said_with_the_first_fill_and_then_rarely(self, schemas: Schemas[str], clock: FakeClock) -> None:
        first = schemas.to_say()
        assert first is not None
        assert (first.fingerprint, first.record, first.life_ms) == (b"fp-mine.", b"of fp-mine.", 1000 * RECORD_S)
        assert schemas.to_say() == first  # that fill failed
        schemas.said()
        clock.sleep_s(RENEWAL_S - 1)
        assert schemas.to_say() is None
        clock.sleep_s(1)
        assert schemas.to_say() == first

    @pytest.mark.parametrize("met", [FEWER, OTHER, MORE])
    def test_is_said_again_where_ours_may_have_been_unreadable(
        self, schemas: Schemas[str], clock: FakeClock, met: bytes
    ) -> None:
        """Others fill over ours if our record is lost. What we can read is no sign of it."""
        schemas.learn(met, b"of " + met)
        schemas.said()
        clock.sleep_s(REPAIR_S)
        assert schemas.to_say() is None
        if met == MORE:
            schemas.decoder(met)
            assert schemas.to_say() is None
            return
        with pytest.raises(UndecodableEntryError):
            schemas.decoder(met)
        assert schemas.to_say() is not None
        schemas.said()
        assert schemas.to_say() is None

    def test_outlives_its_renewal(self) -> None:
        assert RECORD_S > 2 * RENEWAL_S
