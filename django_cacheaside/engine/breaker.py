"""The circuit between this process and the server.

    closed      every operation tries the server
    open        none does, so that no request waits for a server that is away; it is probed every ``retry_s``
    settling    it answers again: commits are announced, but for ``settle_s`` nothing is served or filled

Settling is for the others. A process that has not noticed yet that the server is back commits without announcing; it
notices within ``settle_s``, and by then it has voided what it wrote. Whoever served hits before that would serve its
old rows.

A circuit also stays open while this process owes the server an invalidation: a process that could not void what it
wrote must not serve it either.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from django_cacheaside.clock import Clock
from django_cacheaside.engine.prober import Prober
from django_cacheaside.exceptions import StoreUnavailableError

logger = logging.getLogger("django_cacheaside")

RETRY_S = 0.5
"""Between a failed probe and the next one, in seconds."""


class State(str, Enum):
    """Of a circuit."""

    CLOSED = "closed"
    OPEN = "open"
    SETTLING = "settling"


@dataclass(frozen=True, slots=True)
class Probed:
    """The server answers and takes writes.

    Args:
        run: Its run id.
        is_paid: This process owes it nothing.
    """

    run: bytes
    is_paid: bool


def _nothing(*_: object) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Hooks:
    """Who has a part in a change of state. None of them may raise.

    Args:
        trust: The answers of this run of the server are read from now on.
        deliver: Delivers what others could not tell the server, before the circuit closes; only on the prober's own
            thread, which has connections of its own. Returns whether all of it was; raises ``StoreUnavailableError``.
        opened: Told why.
        closed: Told for how many seconds it was open.
    """

    trust: Callable[[bytes], None] = _nothing
    deliver: Callable[[], bool] = lambda: True
    opened: Callable[[str], None] = _nothing
    closed: Callable[[float], None] = _nothing


def settle_s(*, connect_timeout_s: float, timeout_s: float) -> float:
    """By when every process has noticed that the server is back, in seconds: about 1.2 at the default time-outs.

    Its last failing probe takes its time-outs, its next one is due ``RETRY_S`` later, is made half of that later if its
    thread is late, and may take as long again. All processes are taken to have the same time-outs.
    """
    return 1.5 * RETRY_S + 2 * (connect_timeout_s + timeout_s)


class Breaker:
    """One per process and server. Safe to share between threads.

    Args:
        clock: Where the time comes from.
        probe: Tries the server and pays this process's debts. Raises ``StoreUnavailableError`` if it is still away.
        settle_s: Seconds between the first good probe and the circuit's closing.
        retry_s: Seconds between a failure and the next probe.
        is_in_background: Probe on a thread of its own, so that no caller does; callers only if it is long overdue.

    Attributes:
        is_open: Is it not closed?
        state: Which of the three it is in.
        since_s: Since when, by the clock.
        times_opened: How often it left "closed".
        open_s: For how long it has been open, without this time, in seconds.
        last_reason: Why it was opened last.
    """

    def __init__(
        self,
        clock: Clock,
        probe: Callable[[], Probed],
        *,
        settle_s: float,
        retry_s: float = RETRY_S,
        is_in_background: bool = False,
        hooks: Hooks | None = None,
    ) -> None:
        self._clock = clock
        self._probe = probe
        self._settle_s = settle_s
        self._retry_s = retry_s
        self._hooks = hooks or Hooks()
        self._lock = threading.Lock()
        self._prober = Prober(self._probe_if_due, lambda: self.is_open) if is_in_background else None
        self._probe_at_s = self._settled_at_s = self._opened_at_s = 0.0
        self._is_probing = False
        self._failures = 0
        self._run = b""
        self.is_open = False
        self.state = State.CLOSED
        self.since_s = clock.monotonic_s()
        self.times_opened = 0
        self.open_s = 0.0
        self.last_reason = ""

    def lets_through(self) -> bool:
        """May the caller be served, and fill? Costs nothing while closed; where no thread probes, one caller does."""
        return not self.is_open or self._closes_now(late_s=4 * self._retry_s)

    def lets_announce(self) -> bool:
        """May a commit be announced? While settling, too."""
        # a commit probes sooner than a read: others rely on it to notice that the server is back
        return self.lets_through() or self._closes_now(late_s=self._retry_s / 2) or self.state is State.SETTLING

    def open(self, reason: object) -> None:
        """The server failed, or was never told of a write: go past it from now on."""
        with self._lock:
            was, now_s = self.state, self._clock.monotonic_s()
            self._failures += 1
            self.last_reason = str(reason)
            self._enter(State.OPEN, now_s)
            self.is_open = True
            if was is State.CLOSED:  # a process that goes on writing would put its probe off for ever
                self._probe_at_s = now_s + (0.0 if self._prober else self._retry_s)
                self._opened_at_s = now_s
                self.times_opened += 1
        if was is State.CLOSED:
            logger.error("The cache server is not used for now, reads go to the database: %s", reason)
            if self._prober is not None:
                self._prober.start()
            self._hooks.opened(str(reason))
        elif was is State.SETTLING:
            logger.info("The cache server has failed again: %s", reason)

    def close(self) -> None:
        """Nobody uses it any more: the thread ends."""
        if self._prober is not None:
            self._prober.end()

    def _closes_now(self, *, late_s: float) -> bool:
        """Probe, if nobody else does and it is due: without a thread at once, else ``late_s`` later."""
        failures = self._begin(late_s if self._prober else 0.0)
        if failures is not None:
            # not delivered: the caller may be in a transaction
            self._attempt(failures, deliver=lambda: True)
        return not self.is_open

    def _probe_if_due(self) -> float:
        """For the thread. Returns the seconds until it is asked again."""
        failures = self._begin(0.0)
        if failures is not None:
            self._attempt(failures, deliver=self._hooks.deliver)
        with self._lock:
            if not self.is_open:
                return 0.0
            wait_s = self._probe_at_s - self._clock.monotonic_s()
            return self._retry_s / 4 if self._is_probing else max(0.0, wait_s)

    def _begin(self, late_s: float) -> int | None:
        """Become the one who probes. Returns how many failures there were so far."""
        with self._lock:
            is_due = self._clock.monotonic_s() >= self._probe_at_s + late_s
            if not self.is_open or self._is_probing or not is_due:
                return None
            self._is_probing = True
            return self._failures

    def _attempt(self, failures: int, *, deliver: Callable[[], bool]) -> None:
        probed: Probed | None = None
        is_delivered = False
        error: object = "interrupted"
        try:
            probed = self._probe()
            if self._is_settled(probed):
                is_delivered = deliver()
                probed = self._probe()
        except StoreUnavailableError as away:
            probed, error = None, away
        except BaseException:
            probed = None
            raise
        finally:
            self._conclude(failures, probed, error, is_delivered=is_delivered)

    def _is_settled(self, probed: Probed) -> bool:
        with self._lock:
            is_over = self.state is State.SETTLING and self._clock.monotonic_s() >= self._settled_at_s
            return is_over and probed.is_paid and probed.run == self._run

    def _conclude(self, failures: int, probed: Probed | None, error: object, *, is_delivered: bool) -> None:
        """What one probe means for the circuit."""
        with self._lock:
            self._is_probing = False
            was, now_s = self.state, self._clock.monotonic_s()
            if probed is None or failures != self._failures:
                # whoever opened the circuit again meanwhile has seen something newer than this probe
                self._enter(State.OPEN, now_s)
                self._probe_at_s = now_s + self._retry_s
            elif was is State.OPEN or probed.run != self._run:
                self._enter(State.SETTLING, now_s)
                self._run = probed.run  # another one: the server was away once more, and nobody here has seen it
                self._settled_at_s = now_s + self._settle_s
                self._probe_at_s = now_s + min(self._settle_s, self._retry_s / 2)
            elif is_delivered and probed.is_paid:
                self._hooks.trust(self._run)
                self._enter(State.CLOSED, now_s)
                self.is_open = False
                open_s = now_s - self._opened_at_s
                self.open_s += open_s
            else:
                self._probe_at_s = now_s + self._retry_s / 2
                if now_s < self._settled_at_s:
                    self._probe_at_s = min(self._probe_at_s, self._settled_at_s)
            state = self.state
        if state is State.CLOSED:
            logger.warning("The cache server answers again: reads are served from it, after %.1f s.", open_s)
            self._hooks.closed(open_s)
        elif state is State.SETTLING and was is State.OPEN:
            logger.info("The cache server answers again: reads go to the database until all processes know.")
        elif state is State.OPEN and was is State.SETTLING:
            logger.info("The cache server has failed again: %s", error)

    def _enter(self, state: State, now_s: float) -> None:
        if state is not self.state:
            self.state, self.since_s = state, now_s
