"""Generations of values: what was filled before another process wrote past our keys is nobody's.

An epoch carries the run id of its server, so that what a restart brings back is not served. Sealed with a generation it
also carries since when nobody else has written to the database under other keys. When the generation goes, every value
of the database goes with it: of all models, in all namespaces, at once, and nothing is sent for it.
"""

from __future__ import annotations

from hashlib import blake2b

from django_cacheaside.store.envelope import RUN_SIZE


class Generations:
    """The current generation of each database, by its identity. Safe to share between threads."""

    def __init__(self) -> None:
        self._current: dict[str, tuple[str, dict[bytes, bytes]]] = {}

    def begin(self, database: str, generation: str) -> None:
        """From now on only what is sealed with ``generation`` counts. Nothing changes if it is the current one."""
        if self.of(database) != generation:
            self._current[database] = generation, {}

    def of(self, database: str) -> str:
        """The current generation, "" if none is known."""
        current = self._current.get(database)
        return "" if current is None else current[0]

    def sealed(self, run: bytes, database: str) -> bytes:
        """A server's run id, sealed; as it is where no generation is known."""
        current = self._current.get(database)
        if current is None:
            return run
        generation, seals = current
        seal = seals.get(run)
        if seal is None:
            seal = seals[run] = blake2b(run + generation.encode(), digest_size=RUN_SIZE).digest()
        return seal
