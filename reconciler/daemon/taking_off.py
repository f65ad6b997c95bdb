"""The gateways of a target that are taken off because their tools are not the reviewed ones, until they are again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.core.verification import to_disable, without
from reconciler.daemon.events import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.core.model import DesiredState
    from reconciler.core.verification import Verified
    from reconciler.daemon.events import Notices


class TakenOff:
    """Knows which gateways are off. It writes nothing: passes go by `effective`."""

    def __init__(self, target: str, notices: Notices) -> None:
        self._target = target
        self._notices = notices
        self._names: set[str] = set()
        self.recalled = False

    def recall(self, with_other_tools: Iterable[str], desired: DesiredState) -> frozenset[str]:
        """After a restart, leave off what was taken off before; returned are the names to be looked at first."""
        self.recalled = True
        wanted = desired.gateways
        self._names = {
            name for name in with_other_tools if name in wanted and wanted[name].verify.on_tools_change == "disable"
        }
        return frozenset(self._names)

    def effective(self, desired: DesiredState) -> DesiredState:
        """Return what git wants, without the gateways that are off."""
        return without(desired, self._names) if self._names else desired

    def judge(self, results: Sequence[Verified]) -> frozenset[str]:
        """Take gateways off whose tools are not the reviewed ones, where git asks for that, and put others back.

        Returns the names for which that is something new.
        """
        unreviewed, news = to_disable(results), set()
        for each in results:
            subject = Subject(self._target, each.name)
            if each.name in unreviewed and each.name not in self._names:
                message = "disabled in the store, because its tools are not those that were reviewed: see `verify`"
                self._notices.problem(subject, "Tools", "TakenOff", message, each.revision)
                self._names.add(each.name)
                news.add(each.name)
            elif each.name in self._names and each.name not in unreviewed and each.tool_changes is not None:
                self._notices.over(subject, "Tools", "its tools are the reviewed ones again", each.revision)
                self._names.discard(each.name)
                news.add(each.name)
        return frozenset(news)
