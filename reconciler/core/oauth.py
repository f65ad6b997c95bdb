"""OAuth 2.0 client credentials, sans I/O: what is asked of a token endpoint, and what its answer is worth.

Source: RFC 6749 sections 2.3.1 (client authentication), 4.4 (the grant), 5.1 and 5.2 (the answers).
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_plus, urlencode

from reconciler.core.hostile import printable
from reconciler.core.observation import Diagnosis
from reconciler.core.urls import shown_url

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ANSWER: Final = 256 * 1024
"""How many bytes of a token endpoint's answer are read."""

_BAD_REQUEST: Final = 400
_UNAUTHORIZED: Final = 401
_LONGEST_SECONDS: Final = 24 * 3600
_USUAL_SECONDS: Final = 60.0
_ERRORS: Final = frozenset(
    {"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client"}
    | {"unsupported_grant_type", "invalid_scope"}
)
"""What a token endpoint may say that is worth showing. Anything else might be the secret it was sent."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """Whom to ask for a token, as whom, and for which scopes. The secret is not in its representation."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: tuple[str, ...] = ()

    def form(self) -> bytes:
        """Return the body of the request, `application/x-www-form-urlencoded`, without the client's own credentials."""
        fields = {"grant_type": "client_credentials"}
        if self.scopes:
            fields["scope"] = " ".join(self.scopes)
        return urlencode(fields).encode()

    def form_with_credentials(self) -> bytes:
        """Return the body for a server that does not take the credentials in a header."""
        own = {"client_id": self.client_id, "client_secret": self.client_secret}
        return self.form() + b"&" + urlencode(own, errors="surrogateescape").encode()

    def authorization(self) -> str:
        """Return the header with the client's credentials, each part form-encoded before they are joined."""
        pair = ":".join(quote_plus(part, errors="surrogateescape") for part in (self.client_id, self.client_secret))
        return f"Basic {b64encode(pair.encode()).decode()}"


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, and for how many seconds it holds from when it was given. Not in its representation."""

    value: str = field(repr=False)
    seconds: float


def read_answer(request: TokenRequest, status: int, body: bytes) -> Token | Diagnosis:
    """Return the token in a token endpoint's answer, or why not. Of the body only a known error code is shown."""
    document = _object(body)
    if not 200 <= status < 300:  # noqa: PLR2004 - success
        return _refused(request, status, document)
    value, kind = document.get("access_token"), document.get("token_type", "bearer")
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
        return _useless(request, "holds no access token")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        return _useless(request, "gives a token of another type than bearer")
    return Token(value, _lifetime(document.get("expires_in")))


def refuses_header(status: int, body: bytes) -> bool:
    """Return whether the server may want the client's credentials in the body in place of the header."""
    return status in (_BAD_REQUEST, _UNAUTHORIZED) and _object(body).get("error") in (
        "invalid_client",
        "invalid_request",
    )


def unavailable(request: TokenRequest, found: Diagnosis) -> Diagnosis:
    """Return what to say when the token endpoint could not be asked; `found` says why, as of any other server."""
    return Diagnosis(
        "TokenUnavailable",
        f"There is no token, because {_shown(request)} could not be asked. {found.message}",
        found.fix,
    )


def unusable_url(request: TokenRequest) -> Diagnosis:
    """Return what to say of a token endpoint that a client secret may not be sent to."""
    return Diagnosis(
        "TokenUrlUnusable",
        f"{_shown(request)} is no https:// URL, so the client secret was not sent there.",
        "Write the token endpoint with https:// in spec.auth.tokenUrl.",
    )


def _refused(request: TokenRequest, status: int, document: Mapping[str, object]) -> Diagnosis:
    error = document.get("error")
    said = f", {error}" if isinstance(error, str) and error in _ERRORS else ""
    return Diagnosis(
        "TokenRefused",
        f"{_shown(request)} gives client {printable(request.client_id, 60)} no token: HTTP {status}{said}.",
        "Check spec.auth.clientId, the secret that spec.auth.clientSecretFrom names, and spec.auth.scopes; the "
        "server's owner sees the reason in its log.",
    )


def _useless(request: TokenRequest, what: str) -> Diagnosis:
    return Diagnosis(
        "TokenRefused",
        f"The answer of {_shown(request)} {what}.",
        "Check that spec.auth.tokenUrl is the token endpoint; its metadata is at /.well-known/openid-configuration.",
    )


def _shown(request: TokenRequest) -> str:
    return printable(shown_url(request.url).partition("?")[0])


def _lifetime(seconds: object) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return _USUAL_SECONDS
    return float(min(max(seconds, 0), _LONGEST_SECONDS))


def _object(body: bytes) -> Mapping[str, object]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
