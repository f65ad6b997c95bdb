"""One target, in a thread of its own: what is to be done next, and when.

It takes news (a tree, an answer of an upstream, a lease won or lost) and keeps three clocks: for the search for drift,
for looks at upstreams, and for what failed and is tried again. It is level-triggered: news only says where to look.
"""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final

from reconciler.core.preflight import puts_back_on
from reconciler.core.problems import Severity, has_errors
from reconciler.core.verification import policy_of
from reconciler.daemon.account import Account
from reconciler.daemon.news import Led, News, Preflighted, Revised, Seen
from reconciler.daemon.passes import Done, Extent, Passes
from reconciler.daemon.register import Register
from reconciler.daemon.schedule import Backoff, Due
from reconciler.daemon.taking_off import TakenOff
from reconciler.errors import ReconcilerError, StoreBusyError, StoreError
from reconciler.settings import shown_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime
    from random import Random

    from reconciler.core.lease import Fence
    from reconciler.core.model import Change, DesiredState
    from reconciler.daemon.board import Board
    from reconciler.daemon.events import Notices
    from reconciler.daemon.probes import ProbePool
    from reconciler.engine import Prober
    from reconciler.examining import Lookup
    from reconciler.settings import Settings

_log: Final = logging.getLogger(__name__)
_FOREVER: Final = 3600.0
_ANSWERS_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often what is done, in seconds; 0 means never. Without `heal` drift is only reported."""

    drift_seconds: float = 60.0
    verify_seconds: float = 600.0
    heal: bool = True
    verify: bool = True
    retry: Backoff = field(default_factory=Backoff)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all workers share."""

    environ: Mapping[str, str]
    clock: Callable[[], datetime]
    chance: Random
    board: Board
    notices: Notices
    pool: ProbePool
    prober: Callable[[datetime], Prober]


class Worker:
    """Keeps one target as its tree says. `start` it, `tell` it the news, and `stop` it."""

    def __init__(self, settings: Settings, around: Surroundings, rhythm: Rhythm) -> None:
        self._settings = settings
        self._around = around
        self._rhythm = rhythm
        self.name = settings.target.name
        self._register = Register(self.name, settings.stamp_owner, around.board, around.notices, around.clock)
        self._passes = Passes(settings, around.environ, around.clock, around.board, around.notices, self._register)
        self._account = Account(
            self.name, shown_store(settings.target.store), around.board, around.notices, around.clock
        )
        self._taken_off = TakenOff(self.name, around.notices)
        self._leads = False
        self._fence: Fence | None = None
        self._broken = False
        self._desired: DesiredState | None = None
        self._pending: set[str] | None = set()
        self._by_git = False
        self._failures: dict[str, int] = {}
        self._retries, self._looks = Due(), Due()
        self._drift_at = self._not_before = 0.0
        self._inbox: queue.SimpleQueue[News | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self.turned_at = monotonic()
        self.when_store_fails: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name=f"target-{self.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._publish()
        self._thread.start()

    def tell(self, news: News) -> None:
        """Hand over news, from any thread."""
        self._inbox.put(news)

    def stop(self) -> None:
        """Finish the pass in hand, and end."""
        self._stopping.set()
        self._inbox.put(None)

    def join(self, seconds: float | None = None) -> bool:
        """Wait for the end, and return whether it came."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._handle(self._receive(max(0.0, self._next() - monotonic())))
            except Exception as error:  # noqa: BLE001 - one unforeseen pass must not end the watch of months
                _log.exception("this should not happen: please report it")
                self._failed(ReconcilerError(f"the pass itself failed with {type(error).__name__}"))
            self._publish()
        self._close()

    def _handle(self, news: Sequence[News]) -> None:
        for each in news:
            self._take(each)
        self._hear([each for each in news if isinstance(each, Seen)])
        if not self._stopping.is_set() and self._leads and self._desired is not None:
            self._turn(monotonic())

    def _receive(self, seconds: float) -> list[News]:
        """Return the news there is, after waiting for the first as long as that."""
        found: list[News] = []
        self.turned_at = monotonic() + min(seconds, _FOREVER)
        try:
            each = self._inbox.get(timeout=min(seconds, _FOREVER))
            while len(found) < _ANSWERS_AT_ONCE:
                if each is not None:
                    found.append(each)
                each = self._inbox.get_nowait()
            if each is not None:
                found.append(each)
        except queue.Empty:
            pass
        self.turned_at = monotonic()
        return found

    def _next(self) -> float:
        """Return when there is something to do, if no news comes before."""
        if not self._leads or self._desired is None:
            return float("inf")
        if self._pending is None or self._pending:
            return self._not_before
        return max(self._not_before, min(self._drift_at, self._retries.next, self._looks.next))

    def _take(self, news: News) -> None:
        if isinstance(news, Revised):
            self._revise(news)
        elif isinstance(news, Led):
            self._lead(news)
        elif isinstance(news, Preflighted) and self._leads:
            self._finish(news)

    def _lead(self, news: Led) -> None:
        """Begin to write with a whole pass, or leave everything to whoever leads now."""
        self._account.led(news, changed=news.leads != self._leads)
        self._leads, self._fence, self._by_git = news.leads, news.fence, True
        self._pending = None
        if not self._leads:
            for name in self._register.names:
                self._around.pool.drop(self._key(name))
            self._close()

    def _revise(self, news: Revised) -> None:
        """Take a tree, unless it has errors: then the last good one goes on to hold."""
        errors = [problem for problem in news.desired.problems if problem.severity is Severity.ERROR]
        if has_errors(errors):
            self._account.tree_broken(errors, news.desired.revision, known=self._desired is not None)
            self._broken = True
            return
        self._account.tree_whole(news.desired.revision)
        touched = None if self._desired is None or self._broken else news.touched
        self._desired, self._broken, self._by_git, self._not_before = news.desired, False, True, 0.0
        if touched is not None and any(self._left(name) for name in touched):
            touched = None
        self._begin_anew(touched)

    def _left(self, name: str) -> bool:
        """Return whether a row of this target is described elsewhere now."""
        return self._desired is not None and name not in self._desired.gateways and bool(self._register.live(name))

    def _begin_anew(self, touched: frozenset[str] | None) -> None:
        """Put gateways up for a pass; what they waited for does not count any more."""
        for name in self._register.names if touched is None else touched:
            self._failures.pop(name, None)
            self._retries.drop(name)
            self._around.pool.drop(self._key(name))
        if touched is None or self._pending is None:
            self._pending = None
        elif self._desired is not None:
            self._pending |= touched & self._desired.gateways.keys()

    def _turn(self, now: float) -> None:
        """Make the pass that is due, and send for the looks that are."""
        if now < self._not_before:
            return
        if self._pending is not None:
            self._pending.update(self._retries.take(now))
        drift = self._rhythm.drift_seconds > 0 and now >= self._drift_at
        try:
            self._recall_taken_off()
            if self._pending is None:
                self._whole(drift=False)
            elif self._pending:  # before drift is looked for: without healing, only this writes what git changed
                self._some(frozenset(self._pending))
            elif drift:
                self._whole(drift=True)
            self._look(self._looks.take(monotonic()))
        except ReconcilerError as error:
            self._failed(error)

    def _effective(self) -> DesiredState | None:
        return None if self._desired is None else self._taken_off.effective(self._desired)

    def _recall_taken_off(self) -> None:
        if self._desired is not None and not self._taken_off.recalled:
            self._passes.engine()
            for name in self._taken_off.recall(self._register.with_other_tools, self._desired):
                self._looks.put(name, monotonic())

    def _whole(self, *, drift: bool) -> None:
        """Make a pass over everything; one that only looks for drift is spared where nobody can have written."""
        desired = self._effective()
        self._drift_at = monotonic() + self._jittered(self._rhythm.drift_seconds or _FOREVER)
        if desired is None or (drift and not self._register.held and self._passes.unchanged()):
            self._succeeded()
            return
        extent: Extent = "everything" if self._rhythm.heal else "what git changed" if self._by_git else "nothing"
        kind = "drift" if drift else "whole"
        done = self._account.timed(kind, lambda: self._passes.whole(desired, extent, self._fence))
        self._pending = set()
        self._settle(done, desired)
        self._schedule(self._register.names)

    def _some(self, names: frozenset[str]) -> None:
        desired = self._effective()
        if desired is not None:
            done = self._account.timed("change", lambda: self._passes.some(desired, names, self._fence))
            self._pending = set()
            self._settle(done, desired)
            self._schedule(names)

    def _finish(self, news: Preflighted) -> None:
        """Make a change whose upstream was looked at, or hold it."""
        name = news.change.name
        self._register.hold(name, news.held)
        if news.held:
            self._around.board.count(
                "reconciler_changes_total", target=self.name, action=news.change.action, outcome="held"
            )
            self._again(name)
            return
        try:
            self._settle(self._passes.write([news.change], news.desired, self._fence), news.desired)
        except ReconcilerError as error:
            self._add_pending(name)
            self._failed(error)

    def _settle(self, done: Done, desired: DesiredState) -> None:
        """Do what a pass leaves to be done."""
        self._by_git = False
        self._succeeded(done)
        for name in done.applied:
            self._register.hold(name, "")
            self._failures.pop(name, None)
        self._look(done.applied)
        for change in done.to_probe:
            if not self._around.pool.busy(self._key(change.name)):
                self._preflight(change, desired)
        for name in done.failed:
            self._again(name)

    def _preflight(self, change: Change, desired: DesiredState) -> None:
        """Have the upstream of a change looked at, with what would be written and, if need be, with what is there."""
        engine, around = self._passes.engine(), self._around

        def work() -> Callable[[], None]:
            held = engine.preflight([change], desired, around.prober(around.clock()))
            why = f"{held[change.name].why}: {held[change.name].fix}" if change.name in held else ""
            return lambda: self.tell(Preflighted(change, desired, why))

        if self._rhythm.verify or puts_back_on(change, policy_of(desired, change.name)):
            around.pool.submit(self._key(change.name), work, failed=change.name in self._failures)
        else:
            self.tell(Preflighted(change, desired, ""))

    def _look(self, names: Iterable[str]) -> None:
        """Have the upstreams of rows looked at."""
        if not self._rhythm.verify or self._desired is None:
            return
        for name in names:
            if (found := self._register.live(name)) is not None and not self._around.pool.busy(self._key(name)):
                wanted = self._desired.gateways.get(name)
                lookup = self._passes.engine().examiner.lookup(found, wanted)
                asleep = wanted.suspended(self._around.clock()) if wanted is not None else None
                if not lookup.excuse and asleep is None:
                    self._around.pool.submit(self._key(name), self._probe(lookup), failed=name in self._failures)

    def _probe(self, lookup: Lookup) -> Callable[[], Callable[[], None]]:
        around = self._around

        def work() -> Callable[[], None]:
            (observation,) = around.prober(around.clock())([(lookup.row, lookup.policy)])
            around.board.observe("reconciler_probe_seconds", observation.seconds, target=self.name)
            around.board.count("reconciler_probes_total", target=self.name, result="ok" if observation.ok else "failed")
            return lambda: self.tell(Seen(lookup, observation))

        return work

    def _hear(self, seen: Sequence[Seen]) -> None:
        """Write down what was seen of upstreams, and say when each is looked at again."""
        if not seen or not self._leads:
            return
        from reconciler.recording import sightings

        try:
            engine = self._passes.engine()
            verified = [engine.examiner.examined(each.lookup, each.observation) for each in seen]
            now = self._around.clock()
            self._register.observed(engine, verified, sightings(verified, now))
            for name in self._taken_off.judge(verified):
                self._add_pending(name)
            self._passes.record(verified, self._fence)
        except ReconcilerError as error:
            self._failed(error)
        for each in seen:
            name = each.observation.name
            if each.observation.ok:
                self._failures.pop(name, None)
                self._looks.put(name, monotonic() + self._jittered(self._rhythm.verify_seconds or _FOREVER))
            else:
                self._looks.put(name, monotonic() + self._wait(name))

    def _schedule(self, names: Iterable[str]) -> None:
        """See to it that every row is looked at some time; those that never were begin now, spread over a while."""
        every = self._rhythm.verify_seconds
        if not every or not self._rhythm.verify:
            return
        for name in names:
            if name not in self._looks.at and not self._around.pool.busy(self._key(name)):
                share = self._around.chance.random()
                self._looks.put(
                    name, monotonic() + every * share * (0.1 if self._register.verified_at(name) is None else 1)
                )

    def _again(self, name: str) -> None:
        self._retries.put(name, monotonic() + self._wait(name))

    def _add_pending(self, name: str) -> None:
        if self._pending is not None:
            self._pending.add(name)

    def _wait(self, name: str) -> float:
        self._failures[name] = self._failures.get(name, 0) + 1
        return self._rhythm.retry.wait(self._failures[name], self._around.chance.random())

    def _jittered(self, seconds: float) -> float:
        return seconds * (1.0 - 0.1 * self._around.chance.random())

    def _failed(self, error: ReconcilerError) -> None:
        """Close the store, say what is wrong, and try again a little later."""
        self._failures[""] = self._failures.get("", 0) + 1
        self._not_before = monotonic() + self._rhythm.retry.wait(self._failures[""], self._around.chance.random())
        self._account.failed(error)
        self._close()
        if isinstance(error, StoreError) and not isinstance(error, StoreBusyError):
            self.when_store_fails()

    def _succeeded(self, done: Done | None = None) -> None:
        self._failures.pop("", None)
        revision = self._desired.revision if self._desired is not None else ""
        self._account.succeeded(revision, done.refused if done is not None else None)

    def _publish(self) -> None:
        held = self._register.held
        waiting = len(held.keys() | self._retries.at.keys()) + (len(self._pending) if self._pending else 0)
        self._account.publish(waiting, held)

    def _key(self, name: str) -> str:
        return f"{self.name}/{name}"

    def _close(self) -> None:
        try:
            self._passes.close()
        except ReconcilerError as error:
            self._account.trouble(str(error))
