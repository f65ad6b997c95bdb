"""One change of a plan in words that every format shares: why, what it does to tools, and each field on both sides."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Final

from reconciler.core.effects import replaces
from reconciler.core.hostile import printable
from reconciler.core.model import Reason
from reconciler.core.tampering import SAYINGS
from reconciler.reports.style import NAME_LIMIT, counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.differences import Difference, Value
    from reconciler.core.effects import ToolEffect
    from reconciler.core.review import Review
    from reconciler.core.rotation import Step

KEPT: Final[Mapping[str, str]] = {
    "protected": "protected: remove `reconciler/prune: disabled` in a commit of its own first",
    "not pruned": "no longer in git; --prune would delete it",
    "tree incomplete": "no longer in what was read, but not everything was read, so nothing is deleted",
}
"""Why a gateway that git no longer wants is left alone."""

REASONS: Final[Mapping[Reason, str]] = {
    Reason.ADDED: "",
    Reason.MANIFEST_CHANGED: "the manifest changed",
    Reason.DRIFT: "drift: the store was changed by somebody else",
    Reason.TAMPERING: "tampering: what the store holds is not what was signed",
    Reason.KEY_ROTATED: "signed by an older key",
    Reason.UNSIGNED: "signed for the first time",
    Reason.ADOPTED: "adopted",
    Reason.REMOVED_FROM_GIT: "no longer in git",
    Reason.PROTECTION_CHANGED: "protection changed",
    Reason.RENAMED: "renamed from {held_as}: the row stays, and what hangs on it",
    Reason.ROLLED_BACK: "rolled back",
    Reason.SECRET_CHANGED: "a secret has another value",
}
"""Why a change is planned."""

_STEPS: Final[Mapping[Step, str]] = {
    "adds": "CA rotation",
    "removes": "CA rotation",
    "moves": "CA rotation",
    "replaces": "CA rotation",
    "renews": "CA renewal",
    "reissues": "other intermediates",
    "drops": "CA bundle dropped",
}
_EFFECTS: Final[Mapping[str, tuple[str, str]]] = {
    "appear": ("appears", "appear"),
    "vanish": ("vanishes", "vanish"),
    "rename": ("gets another name", "get other names"),
}
_REPLACED: Final = "in Kubernetes the registration is deleted and made anew: it cannot get another prefix or route"
_TOOLS_SHOWN: Final = 20
_VALUE_LIMIT: Final = 200
_LED_BY: Final = 40


def reason(review: Review) -> str:
    """Return why a change is planned, all of it; the empty string for what is simply new."""
    change = review.change
    words = [_why(change.reason, review).format(held_as=printable(change.held_as))]
    if change.reason in (Reason.DRIFT, Reason.TAMPERING):
        words += ["the manifest changed as well"] if review.intended else []
    elif review.drift is not None:
        words.append(_why(review.drift, review))
    if review.rotation is not None:
        words.append(_STEPS[review.rotation.step])
    if replaces(change):
        words.append(_REPLACED)
    return "; ".join(word for word in words if word)


def _why(reason: Reason, review: Review) -> str:
    if reason is Reason.TAMPERING and review.evidence is not None:
        return f"tampering: {SAYINGS[review.evidence]}"
    return REASONS[reason]


def tools(effect: ToolEffect) -> str:
    """Return `2 tools of payments vanish: charge, refund`, as far as it is known."""
    subject = "tools" if effect.count is None else counted(effect.count, "tool")
    verb = _EFFECTS[effect.effect][effect.count != 1]
    named = [printable(name) for name in effect.names[:_TOOLS_SHOWN]]
    if more := len(effect.names) - len(named):
        named.append(f"and {more:,} more")
    return f"{subject} of {printable(effect.gateway)} {verb}{': ' if named else ''}{', '.join(named)}"


def value(shown: Value) -> str:
    """Return a value as one line, cut where it is long."""
    if shown is None:
        return "(none)"
    if isinstance(shown, bool):
        return "true" if shown else "false"
    if isinstance(shown, tuple):
        return f"[{', '.join(printable(item) for item in shown)}]"
    return printable(shown) if shown else '""'


def sides(difference: Difference) -> tuple[str, str]:
    """Return both values of a field. Of long texts that begin alike, no more of that is shown than leads there."""
    old, new = difference.before, difference.after
    if isinstance(old, str) and isinstance(new, str) and max(len(old), len(new)) > _VALUE_LIMIT:
        alike = (one == other for one, other in zip(old, new, strict=False))
        start = max(0, sum(takewhile(bool, alike)) - _LED_BY)
        old, new = (f"…{text[start:]}" if start else text for text in (old, new))
    return value(old), value(new)


def items(difference: Difference) -> tuple[list[str], list[str]] | None:
    """Return what a list gains and loses, where that tells more than both lists; None for everything else."""
    old, new = difference.before, difference.after
    if not isinstance(old, tuple) or not isinstance(new, tuple):
        return None
    gained, lost = ([printable(item) for item in one if item not in other] for one, other in ((new, old), (old, new)))
    return (gained, lost) if gained or lost else None


def place(review: Review) -> str:
    """Return `file:line` of the manifest behind a change, or nothing."""
    where = review.change.location
    return f"{printable(where.file, NAME_LIMIT)}:{where.line}" if where else ""
