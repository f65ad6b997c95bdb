"""What it means when the Kubernetes API does not do as it was asked, for whoever has to mend it.

The API explains itself in a `Status`; its message is shown, shortened, but never for a Secret, whose content it may
quote. Field managers are told apart: who *applies* a field wants it so, who *updated* it once may have forgotten.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.hostile import printable
from reconciler.errors import StoreError
from reconciler.stores.kubernetes.marks import listed, mapping
from reconciler.stores.rows import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

BAD_REQUEST: Final = 400
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
CONFLICT: Final = 409
GONE: Final = 410
INVALID: Final = 422
TOO_MANY: Final = 429
UNAVAILABLE: Final = 503

_SHOWN: Final = 400
_MANAGER: Final = re.compile(r'conflict with "(?P<manager>[^"]*)"(?P<how>.*)', re.DOTALL)


class CallError(StoreError):
    """A call failed. `status` is that of the answer, 0 where there was none.

    `holders` are the field managers that stand in the way of an apply.
    """

    def __init__(self, message: str, *, fix: str = "", status: int = 0, holders: tuple[Holder, ...] = ()) -> None:
        super().__init__(message, fix=fix)
        self.status = status
        self.holders = holders


class RefusedError(StoreError):
    """It must not be written, so nothing was sent."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Another manager that holds a field that we apply. `insists`: it applies the field too, so it would come back."""

    manager: str
    field: str
    insists: bool

    def __str__(self) -> str:
        """Return who holds what."""
        return f"`{self.manager}` holds {self.field}"


@dataclass(frozen=True, slots=True)
class _Meaning:
    said: str
    fix: str


_MEANINGS: Final[Mapping[int, _Meaning]] = {
    BAD_REQUEST: _Meaning(
        "it does not understand the object",
        "does the cluster have the resource definitions of Kuadrant's MCP gateway 0.8 or newer, with v1?",
    ),
    UNAUTHORIZED: _Meaning(
        "it does not accept our credentials", "log in to the cluster again, or look at the user of the kubeconfig"
    ),
    FORBIDDEN: _Meaning(
        "we may not do that", "bind the Role of deploy/kubernetes/role.yaml to whom the kubeconfig or the Pod names"
    ),
    NOT_FOUND: _Meaning(
        "it has no such thing",
        "does the cluster have the resource definitions (Gateway API, Kuadrant's MCP gateway with v1)?",
    ),
    CONFLICT: _Meaning("the object is not as we know it any more", "plan again"),
    INVALID: _Meaning("it does not accept the values", "correct the manifest where the message says"),
    TOO_MANY: _Meaning("it has too much to do", "try again in a while"),
    UNAVAILABLE: _Meaning("it is not ready", "try again in a while"),
}
_OTHER: Final = _Meaning("it failed", "the log of the API server has the reason")
_UNKNOWN_FIELD: Final = "field not declared in schema"
_HELD: Final = "another manager holds what we would write"


def failure(status: int, answer: Any, what: str, *, secret: bool) -> CallError:  # noqa: ANN401 - JSON as found
    """Return the error for an answer that is no success. `what` was called for; of a `secret` nothing is repeated."""
    holders = _holders(answer)
    if _UNKNOWN_FIELD in text_of(mapping(answer).get("message")):
        status = BAD_REQUEST  # what a strict apply says of a field that it does not know is a 500
    meaning = _MEANINGS.get(status, _OTHER)
    said = "" if secret else printable(text_of(mapping(answer).get("message")), _SHOWN)
    why = _HELD if holders else meaning.said
    detail = "; ".join(map(str, holders)) or said
    message = f"the Kubernetes API answered {status} to {what}: {why}{f' ({detail})' if detail else ''}"
    fix = "let that manager give the fields up, or take them out of the manifest" if holders else meaning.fix
    return CallError(message, fix=fix, status=status, holders=holders)


def _holders(answer: Any) -> tuple[Holder, ...]:  # noqa: ANN401 - as above
    causes = map(mapping, listed(mapping(mapping(answer).get("details")).get("causes")))
    found = [_holder(cause) for cause in causes if cause.get("reason") == "FieldManagerConflict"]
    return tuple(dict.fromkeys(found))


def _holder(cause: Mapping[str, Any]) -> Holder:
    said, field = text_of(cause.get("message")), printable(text_of(cause.get("field")), _SHOWN)
    match = _MANAGER.match(said)
    if match is None:
        return Holder(printable(said, _SHOWN), field, insists=True)
    return Holder(printable(match["manager"], _SHOWN), field, insists=" using " not in match["how"])
