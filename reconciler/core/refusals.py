"""What it means when an MCP endpoint answers with an HTTP status, or a body, that carries no MCP. Pure.

Bodies are not quoted: an error page may repeat the credentials it was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit, urlunsplit

from reconciler.core.hostile import printable
from reconciler.core.observation import Diagnosis

if TYPE_CHECKING:
    from collections.abc import Mapping

_Rule = tuple[str, str, str]
"""Reason, what the status means, fix."""

_OTHER_TRANSPORT = "Check the path of spec.url, and whether spec.transport is the upstream's."

_STATUSES: dict[int, _Rule] = {
    400: ("BadRequest", "it does not accept an MCP request here", _OTHER_TRANSPORT),
    401: ("Unauthorized", "it wants credentials, or refuses those it got", "Check spec.auth and the secret it names."),
    403: ("Forbidden", "these credentials may not do this", "Check what the account behind spec.auth is allowed."),
    404: ("EndpointNotFound", "there is nothing at this path", _OTHER_TRANSPORT),
    405: ("WrongTransport", "the path exists, but not for this kind of request", _OTHER_TRANSPORT),
    406: ("NotAcceptable", "it offers neither JSON nor an event stream", _OTHER_TRANSPORT),
    410: ("EndpointNotFound", "there is nothing at this path any more", _OTHER_TRANSPORT),
    415: ("NotAcceptable", "it does not take JSON", _OTHER_TRANSPORT),
    421: (
        "HostRejected",
        "it does not serve this host name",
        "Add the host of spec.url to the names that the upstream accepts (its DNS rebinding protection).",
    ),
    429: ("RateLimited", "it has had too many requests", "Try again later, or raise the upstream's limit for probes."),
}

_CLASSES: dict[int, _Rule] = {
    3: (
        "Redirected",
        "probes follow no redirect, for credentials would follow it too",
        "Write the new URL in spec.url.",
    ),
    4: ("RequestRefused", "it refuses the request", "Look into the upstream's log at this moment."),
    5: ("UpstreamError", "the upstream, or a proxy before it, has failed", "Look into its log at this moment."),
}

_ODD: _Rule = ("UnexpectedStatus", "that is no answer to an MCP request", _OTHER_TRANSPORT)


def refused(question: str, url: str, status: int, headers: Mapping[str, str]) -> Diagnosis:
    """Return why `question` (`POST https://…`) was not answered with success. Header names are lower-case."""
    reason, meaning, fix = _STATUSES.get(status) or _CLASSES.get(status // 100, _ODD)
    return Diagnosis(
        reason, f"{question} was answered with HTTP {status}{_hint(url, status, headers)}: {meaning}.", fix
    )


def _hint(url: str, status: int, headers: Mapping[str, str]) -> str:
    """Return what the headers add: where a redirect leads, without its query, or how to authenticate."""
    if status // 100 == 3 and "location" in headers:  # noqa: PLR2004 - the class of redirects
        return f" to {public_url(urljoin(url, headers['location']))}"
    if "www-authenticate" in headers:
        return f" (WWW-Authenticate: {printable(headers['www-authenticate'])})"
    return ""


def not_mcp(question: str, kind: str) -> Diagnosis:
    """Return what to say of a body that is neither JSON nor an event stream; `kind` is its content type."""
    return Diagnosis(
        "NotMcp",
        f"{question} was answered with {printable(kind) or 'a body of no declared type'}, where MCP wants JSON or an "
        "event stream.",
        "Check that spec.url is the MCP endpoint, not a web page or a login form before it.",
    )


def not_json(question: str) -> Diagnosis:
    """Return what to say of a body that claims to be JSON and is not."""
    return Diagnosis(
        "NotJson",
        f"{question} was answered with something that is not valid JSON.",
        "Look at the answer with curl; something between here and the upstream may rewrite it.",
    )


def no_answer(question: str) -> Diagnosis:
    """Return what to say when the body ended without the answer that was asked for."""
    return Diagnosis(
        "NoAnswer",
        f"The answer to {question} ended without a reply to the request it belongs to.",
        "Look into the upstream's log: it closed the stream before it had answered.",
    )


def too_large(question: str, limit: int) -> Diagnosis:
    """Return what to say of a body over `limit` bytes."""
    return Diagnosis(
        "AnswerTooLarge",
        f"The answer to {question} is larger than {limit // 1024 // 1024} MiB.",
        "Look at what the upstream answers there; MCP lists are far smaller.",
    )


def not_http(question: str, what: str) -> Diagnosis:
    """Return what to say when the peer does not speak HTTP, or breaks its rules."""
    return Diagnosis(
        "NotHttp",
        f"The answer to {question} breaks HTTP/1.1: {printable(what)}.",
        "Check the port in spec.url, and whether it wants http:// or https://.",
    )


def foreign_endpoint(question: str, endpoint: str) -> Diagnosis:
    """Return what to say of an SSE server that sends its clients, and their credentials, to another origin."""
    return Diagnosis(
        "ForeignEndpoint",
        f"{question} sends messages to {public_url(endpoint)}, which is another origin than the stream's.",
        "Have the upstream give a relative endpoint, or one of the scheme, host and port of spec.url.",
    )


def unusable_headers() -> Diagnosis:
    """Return what to say of credentials that no HTTP header can carry. They are not shown."""
    return Diagnosis(
        "CredentialsUnusable",
        "A header or query parameter of spec.auth holds characters that HTTP does not allow.",
        "Look for a line end or a control character in the secret; a trailing newline in a file is the usual one.",
    )


def unusable_url() -> Diagnosis:
    """Return what to say of a URL that names no HTTP server."""
    return Diagnosis("UrlUnusable", "The URL names no HTTP server.", "Write http:// or https://, a host, and a path.")


def public_url(url: str) -> str:
    """Return a URL without user, query and fragment, where secrets travel."""
    try:
        parts = urlsplit(url)
        return printable(urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")))
    except ValueError:
        return "(not a URL)"
