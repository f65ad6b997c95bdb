"""What it means when ContextForge does not do as it was asked, for whoever has to mend it.

The platform says little (a 422 is one fixed sentence) or something else than it means, so the table below says what its
answers stand for. What it does say is shown, but never what was sent to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.hostile import printable
from reconciler.errors import StoreError
from reconciler.stores.contextforge.address import LOGIN

if TYPE_CHECKING:
    from collections.abc import Mapping


WIDEN: Final = "ALTER TABLE gateways ALTER COLUMN ca_certificate_sig TYPE varchar(128);"

UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
CONFLICT: Final = 409
TOO_MANY: Final = 429
BAD_GATEWAY: Final = 502

_SHOWN: Final = 400
_NO_CAUSE: Final = ("400: it failed (Unable to complete the operation", "500: it failed (Unexpected error")
_SECRET_FIELDS: Final = ("auth", "oauth", "client_key", "clientKey")


class CallError(StoreError):
    """A call failed. `status` is that of the answer, 0 where there was none.

    `sent` says whether the platform may have done what it was asked all the same. `ends` means that further calls
    would fail alike.
    """

    def __init__(self, message: str, *, fix: str = "", status: int = 0, sent: bool = False, ends: bool = False) -> None:
        super().__init__(message, fix=fix)
        self.status = status
        self.sent = sent
        self.ends = ends


class RefusedError(StoreError):
    """It must not be written, so nothing was sent."""


@dataclass(frozen=True, slots=True)
class _Meaning:
    said: str
    fix: str = ""
    ends: bool = False


_MEANINGS: Final[Mapping[int, _Meaning]] = {
    UNAUTHORIZED: _Meaning(
        "it does not accept the token",
        f"it has expired, or is of another installation: {LOGIN}",
        ends=True,
    ),
    FORBIDDEN: _Meaning(
        "the token may not do that", "give it the scope {permission}, or one of a user who is in the team"
    ),
    NOT_FOUND: _Meaning(
        "it has no such thing", "check the store's URL: is this ContextForge 1.0 or newer, and the path its root path?"
    ),
    CONFLICT: _Meaning(
        "it has a gateway of this name or with this URL already",
        "if `reconciler plan` does not show it, the token may not see it, or the platform cannot list it",
    ),
    422: _Meaning(
        "it does not accept the values",
        "it refuses private addresses without SSRF_ALLOW_PRIVATE_NETWORKS or SSRF_ALLOWED_NETWORKS, loopback without"
        " SSRF_ALLOW_LOCALHOST, host names that do not resolve, and HTML; EXPOSE_ERROR_DETAILS=true makes it say which",
    ),
    TOO_MANY: _Meaning(
        "it has had too many calls, and would lock us out after more of them",
        "wait a quarter of an hour, or raise RATE_LIMIT_LOW_RPM there",
        ends=True,
    ),
    BAD_GATEWAY: _Meaning(
        "it could not connect to the upstream, and changed nothing",
        "an apply with --verify looks at the upstream from here, and says what is wrong",
    ),
}
_REDIRECT: Final = _Meaning(
    "it sends us elsewhere, and the token goes nowhere else", "give the URL that it redirects to", ends=True
)
_OTHER: Final = _Meaning("it failed", "its log has the reason")


def failure(status: int, answer: object, permission: str) -> CallError:
    """Return the error for an answer that is no success. `permission` is what the call needs."""
    redirected = 300 <= status < 400  # noqa: PLR2004 - RFC 9110 section 15.4
    meaning = _REDIRECT if redirected else _MEANINGS.get(status, _OTHER)
    words = "" if redirected else _words(answer)
    message = f"ContextForge answered {status}: {meaning.said}{f' ({words})' if words else ''}"
    return CallError(message, fix=meaning.fix.format(permission=permission), status=status, ends=meaning.ends)


def column_may_be_narrow(error: CallError, signature: str) -> bool:
    """Return whether a write may have failed because PostgreSQL has half the room that a signature needs.

    Migrations make the column 64 wide, and a signature has 128 characters. The platform answers 400 to a create and 500
    to an update, and names no cause.
    """
    return bool(signature) and any(words in str(error) for words in _NO_CAUSE)


def _words(answer: object) -> str:
    """Return the platform's own words: its message, and of validation errors the fields; never the values."""
    if not isinstance(answer, dict):
        return ""
    found = answer.get("message") or answer.get("detail") or answer.get("details") or ""
    if isinstance(found, list):
        found = "; ".join(_field_error(each) for each in found[:5])
    return printable(found, _SHOWN) if isinstance(found, str) else ""


def _field_error(error: Any) -> str:  # noqa: ANN401 - JSON as found
    place = error.get("loc") or error.get("field") if isinstance(error, dict) else None
    path = ".".join(map(str, place)) if isinstance(place, list) else str(place or "?")
    secret = any(part in path for part in _SECRET_FIELDS)
    said = error.get("msg") or error.get("message") if isinstance(error, dict) and not secret else ""
    return f"{path}: {said}" if said else path
