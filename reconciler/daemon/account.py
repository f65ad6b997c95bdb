"""The account of a target: what its passes came to, as the board shows it and as it is told."""

from __future__ import annotations

import logging
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Final

from reconciler.core.problems import ProblemsError, Severity
from reconciler.daemon.board import TargetState
from reconciler.daemon.events import Subject
from reconciler.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from reconciler.core.problems import Problem
    from reconciler.daemon.board import Board
    from reconciler.daemon.events import Notices
    from reconciler.daemon.news import Led
    from reconciler.daemon.passes import Done
    from reconciler.errors import ReconcilerError

_log: Final = logging.getLogger(__name__)
_PROBLEMS_TOLD: Final = 3
_HELD_SHOWN: Final = 50


class Account:
    """Keeps the account of the target `name`, whose store may be shown as `store`."""

    def __init__(self, name: str, store: str, board: Board, notices: Notices, clock: Callable[[], datetime]) -> None:
        self._subject = Subject(name)
        self._board = board
        self._notices = notices
        self._clock = clock
        self._state = TargetState(name, store)

    def led(self, news: Led, *, changed: bool) -> None:
        """Say who leads."""
        if changed:
            reason = "Leads" if news.leads else "Follows"
            self._notices.happened(self._subject, reason, news.who or "this process leads the target now")
        role = "follower" if not news.leads else "leader" if news.fence is not None else "alone"
        self._state = replace(self._state, role=role, lease=news.who)

    def tree_broken(self, errors: Sequence[Problem], revision: str, *, known: bool) -> None:
        """Say that a tree cannot be taken, and what holds instead: the last good one, if one is `known`."""
        kept = "the last good state is kept" if known else "the store is kept as it is"
        message = f"{len(errors)} error(s), so {kept}: {_shown(errors)}"
        self._notices.problem(self._subject, "Tree", "TreeBroken", message, revision)

    def tree_whole(self, revision: str) -> None:
        """Say that a tree was taken."""
        self._notices.over(self._subject, "Tree", "the tree is whole again", revision)

    def timed(self, kind: str, work: Callable[[], Done]) -> Done:
        """Make a pass, and count it with the time that it took."""
        begin = monotonic()
        result = "failed"
        try:
            done = work()
            result = "refused" if done.refused else "partly" if done.failed else "ok"
        finally:
            seconds = monotonic() - begin
            _log.debug("%s: a pass (%s) of %.3f s: %s", self._state.name, kind, seconds, result)
            self._board.observe("reconciler_pass_seconds", seconds, target=self._state.name, kind=kind)
            self._board.count("reconciler_passes_total", target=self._state.name, kind=kind, result=result)
        return done

    def failed(self, error: ReconcilerError) -> None:
        """Say what is wrong."""
        said = error.in_one_line()
        if isinstance(error, ProblemsError):  # of what the platform keeps; those of the tree stopped it before
            said = _shown([problem for problem in error.problems if problem.severity is Severity.ERROR])
        reason = "StoreUnusable" if isinstance(error, StoreError) else "PassFailed"
        self._notices.problem(self._subject, "Pass", reason, said)
        passes = self._state.passes + 1
        self._state = replace(self._state, trouble=said, last_pass=self._clock(), passes=passes)

    def succeeded(self, revision: str, refused: str | None) -> None:
        """Say that a pass succeeded, or which guard `refused` it; None where there was nothing for guards to judge."""
        self._notices.over(self._subject, "Pass", "passes succeed again")
        refused = self._state.refused if refused is None else refused
        if refused:
            fix = "look at `reconciler plan`; if it is meant, apply it by hand with the option that it names"
            said = f"{refused}; nothing was written: {fix}"
            self._notices.problem(self._subject, "Guard", "GuardRefused", said)
        else:
            self._notices.over(self._subject, "Guard", "the guards let the changes through")
        now = self._clock()
        self._state = replace(
            self._state,
            trouble="",
            refused=refused,
            last_pass=now,
            last_success=self._state.last_success if refused else now,
            revision=self._state.revision if refused else revision,
            passes=self._state.passes + 1,
        )

    def trouble(self, said: str) -> None:
        """Show what is wrong, without telling it."""
        self._state = replace(self._state, trouble=said)

    def publish(self, waiting: int, held: Mapping[str, str]) -> None:
        """Bring the board up to date. `held` says of changes why they wait; `waiting` counts whatever does."""
        state = replace(self._state, waiting=waiting, held=tuple(sorted(held.items()))[:_HELD_SHOWN])
        if state != self._state or self._board.targets().get(state.name) != state:
            self._state = state
            self._board.put_target(state)


def _shown(errors: Sequence[Problem]) -> str:
    """Return the first few errors, each with its place."""
    said = (f"{each.location.file}:{each.location.line}: {each.message}" for each in errors[:_PROBLEMS_TOLD])
    more = f" and {len(errors) - _PROBLEMS_TOLD} more" if len(errors) > _PROBLEMS_TOLD else ""
    return "; ".join(said) + more
