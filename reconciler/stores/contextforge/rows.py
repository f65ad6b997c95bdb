"""A gateway as the API of ContextForge takes and shows it.

What others wrote is represented as found, never guessed at: a CA bundle keeps its line ends and its order, for that is
what the signature beside it is over. A value that we would not have written becomes a text beginning with `unknown:`,
equal to nothing in any manifest.
"""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.canonical import canonical_json
from reconciler.core.contextforge_platform import slug
from reconciler.core.model import ContextForgeOptions, Gateway, KuadrantOptions, LiveGateway, Visibility
from reconciler.stores.contextforge.credentials import as_written, auth_fields, auth_of, client_key_of, outdated
from reconciler.stores.contextforge.marks import is_mark, own_tags, record_of, sealed_of, stamp_of
from reconciler.stores.rows import TRANSPORT_WORDS, text_of, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.core.model import Transport
    from reconciler.stores.access import Access
    from reconciler.stores.contextforge.credentials import Secrets
    from reconciler.stores.contextforge.marks import Sealed, Tag

    Row = Mapping[str, Any]

_TRANSPORTS: Final[Mapping[Any, Transport]] = {word: transport for transport, word in TRANSPORT_WORDS.items()}
_VISIBILITIES: Final[Mapping[Any, Visibility]] = {each.value: each for each in Visibility}
_ALGORITHM: Final = "ed25519"
_REWRITTEN: Final = re.compile(r"^(https?://)127\.0\.0\.1(?=[:/?]|$)")
_WRITTEN: Final = (
    *("id", "name", "url", "transport", "description", "enabled", "visibility", "teamId", "tags", "passthroughHeaders"),
    *("caCertificate", "caCertificateSig", "signingAlgorithm", "clientCert", "clientKey", "gatewayMode", "version"),
    *("authType", "authUsername", "authPassword", "authToken", "authHeaders"),
    *("authQueryParamKey", "authQueryParamValueMasked", "oauthConfig"),
)
"""The fields of a row that only a write changes; what health checks touch is not among them."""


def body(
    gateway: Gateway, signature: str, tags: Sequence[Tag], team: str, secrets: Secrets, row: Row
) -> dict[str, Any]:
    """Return the whole gateway as the API takes it to make `row` (nothing, to create one) into it.

    `team` is the platform's id of the team; `secrets` are values, or the masks of the row, which keep what it has. The
    platform wipes credentials that are left out. What is empty is sent only to clear something: it counts as a change
    of the connection otherwise, and that is not stored while the upstream is down.

    Raises:
        InputError: the platform cannot hold it.
    """
    values, client_key = secrets
    content = {
        "name": gateway.name,
        "url": gateway.url,
        "description": gateway.description,
        "transport": TRANSPORT_WORDS[gateway.transport],
        "visibility": gateway.visibility.value,
        "tags": list(tags),
        "passthrough_headers": list(gateway.passthrough_headers),
        "ca_certificate": gateway.ca_certificate,
        "ca_certificate_sig": signature,
        "signing_algorithm": _ALGORITHM,
        "client_cert": gateway.client_certificate,
        "client_key": client_key,
        "gateway_mode": gateway.contextforge.mode,
        "team_id": team,
        **auth_fields(gateway.auth, values),
    }
    return {field: value for field, value in content.items() if value or row.get(_as_shown(field))}


def live_gateway(row: Row, access: Access) -> LiveGateway:
    """Return what a row of the API holds."""
    tags = listed(row.get("tags"))
    sealed = as_written(sealed_of(tags), row)
    return LiveGateway(
        gateway=_gateway(row, sealed),
        signature=text_of(row.get("caCertificateSig")),
        stamp=stamp_of(tags),
        token=token(row),
        record=record_of(tags),
        outdated=outdated(sealed, row, access),
    )


def token(row: Row) -> str:
    """Return the row's id, its version, and a digest of everything that only a write changes.

    The version alone would not do: switching a gateway off or on leaves it.
    """
    content = canonical_json([row.get(field) for field in _WRITTEN])
    return f"{row['id']}:{row.get('version')}:{sha256(content.encode()).hexdigest()[:32]}"


def id_in(token: str) -> str:
    """Return the id of the row that a token is of."""
    return token.partition(":")[0]


def canonical(gateway: Gateway) -> Gateway:
    """Return what the platform shows after it was given `gateway`. Pure and idempotent.

    It calls 127.0.0.1 localhost and takes HTML out of descriptions. Our marks are ours, and a team is one where it is
    the audience; elsewhere the platform puts the team of the token there.
    """
    team = slug(gateway.contextforge.team) if gateway.visibility is Visibility.TEAM else ""
    form = replace(
        gateway,
        url=_REWRITTEN.sub(r"\1localhost", gateway.url),
        description=_without_html(gateway.description),
        tags=tuple(tag for tag in gateway.tags if not is_mark(tag)),
        system_trust=True,
        contextforge=replace(gateway.contextforge, team=team),
        kuadrant=KuadrantOptions(),
    )
    return gateway if form == gateway else form


def team_of(row: Row) -> str:
    """Return the team that is a row's audience as manifests write it, by its name; empty where the audience is none."""
    if row.get("visibility") != Visibility.TEAM.value:
        return ""
    return slug(text_of(row.get("team"))) or text_of(row.get("teamId"))


def version_of(row: Row) -> int:
    """Return the platform's count of the row's updates."""
    version = row.get("version")
    return version if isinstance(version, int) else 0


def listed(value: object) -> list[Any]:
    """Return the list that was found, an empty one where there is something else."""
    return value if isinstance(value, list) else []


def _as_shown(field: str) -> str:
    """Return the name under which the API shows a field that it takes."""
    first, *words = field.split("_")
    return first + "".join(map(str.capitalize, words))


def _gateway(row: Row, sealed: Sealed) -> Gateway:
    transport, visibility = row.get("transport"), row.get("visibility")
    return Gateway(
        name=text_of(row.get("name")),
        url=text_of(row.get("url")),
        transport=_TRANSPORTS.get(text_of(transport)) or unknown(transport),
        description=text_of(row.get("description")),
        enabled=row.get("enabled") is not False,
        visibility=_VISIBILITIES.get(text_of(visibility)) or unknown(visibility),
        tags=own_tags(listed(row.get("tags"))),
        passthrough_headers=tuple(map(text_of, listed(row.get("passthroughHeaders")))),
        ca_certificate=text_of(row.get("caCertificate")),
        client_certificate=text_of(row.get("clientCert")),
        client_key=client_key_of(row, sealed),
        auth=auth_of(row, sealed),
        contextforge=ContextForgeOptions(text_of(row.get("gatewayMode")), team_of(row)),
    )


class _Text(HTMLParser):
    """Keeps the text of HTML, as the platform does: with the parser of the standard library."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)


def _without_html(text: str) -> str:
    """Return the text that survives however often it is written: what `&lt;b&gt;` becomes is a tag the next time."""
    while (stripped := _stripped(text)) != text:
        text = stripped
    return text


def _stripped(text: str) -> str:
    if "<" not in text and "&" not in text:
        return text.strip()
    parser = _Text()
    try:
        parser.feed(text.strip())
        parser.close()
    except AssertionError:  # the parser's word for a declaration that it does not know; the platform refuses that text
        return text
    return "".join(parser.pieces)
