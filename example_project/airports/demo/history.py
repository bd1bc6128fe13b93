"""What a process did, in a file: three numbers a fact, so that a run of any length needs little memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

FACTS_IN_MEMORY = 20_000


class Recorder:
    """Appends (primary key, version, nanoseconds) to a file; complete after the ``with`` block."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._facts = array("q")

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self._file:
            self._facts.tofile(self._file)

    def add(self, pk: int, version: int, at_ns: int) -> None:
        """Note one fact."""
        self._facts.extend((pk, version, at_ns))
        if len(self._facts) > 3 * FACTS_IN_MEMORY:
            self._facts.tofile(self._file)
            del self._facts[:]


def recorded(path: Path) -> Iterator[tuple[int, int, int]]:
    """The facts of a file, in their order."""
    with path.open("rb") as file:
        while raw := file.read(24 * FACTS_IN_MEMORY):
            numbers = iter(array("q", raw))
            yield from zip(numbers, numbers, numbers)  # noqa: B905  one iterator, three times
