"""A gateway as a server of the broker's file, and back.

What the file says is represented as the broker means it; what the broker has no word for comes from the marks. A server
with keys that no manifest knows is shown with an unknown hint, so that it differs from every manifest.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, cast

from reconciler.core.broker_file import DISABLED, ENABLED, strange_keys
from reconciler.core.canonical import auth_document, canonical_json
from reconciler.core.model import Auth, Gateway, KuadrantOptions, LiveGateway, SecretReference, Stamp, Transport
from reconciler.core.urls import host_of
from reconciler.errors import InputError
from reconciler.stores.kuadrant.marks import Mark, credential_digest, entry_digest, mark_document
from reconciler.stores.rows import unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.core.broker_file import Entry
    from reconciler.core.model import Change
    from reconciler.stores.access import Access

_HEADER: Final = "authorization"
_SENDABLE: Final = re.compile(r"[\x20-\x7e]+")
_UNREFERENCED: Final = SecretReference(cast("Any", "unknown"), "")
_OF_SCHEME: Final = {
    "bearer": Auth("bearer", (), (("token", _UNREFERENCED),)),
    "basic": Auth("basic", (), (("password", _UNREFERENCED),)),
}
_OF_ANOTHER: Final = Auth("headers", (), (("Authorization", _UNREFERENCED),))


def canonical(gateway: Gateway) -> Gateway:
    """Return what a broker's file and the marks beside it give back of a gateway."""
    options = gateway.kuadrant
    return Gateway(
        name=gateway.name,
        url=gateway.url,
        transport=Transport.STREAMABLE_HTTP,
        description=gateway.description,
        enabled=gateway.enabled,
        tags=gateway.tags,
        ca_certificate=gateway.ca_certificate.strip(),
        auth=_held(gateway.auth),
        kuadrant=KuadrantOptions(
            prefix=options.prefix,
            category=options.category,
            hint=options.hint,
            hostname="" if options.hostname == host_of(gateway.url) else options.hostname,
            user_specific_list=options.user_specific_list,
        ),
    )


def entry_of(gateway: Gateway, credential: str) -> Entry:
    """Return a canonical gateway as a server, without what is empty."""
    options = gateway.kuadrant
    entry = {
        "name": gateway.name,
        "url": gateway.url,
        "hostname": options.hostname or host_of(gateway.url),
        "prefix": options.prefix,
        "userSpecificList": options.user_specific_list,
        "category": list(options.category),
        "hint": options.hint,
        "tags": list(gateway.tags),
        "credential": credential,
        "caCert": f"{gateway.ca_certificate}\n" if gateway.ca_certificate else "",
    }
    return {
        "state": ENABLED if gateway.enabled else DISABLED,
        **{name: value for name, value in entry.items() if value},
    }


def mark_of(change: Change, gateway: Gateway, entry: Entry, salt: str, access: Access) -> Mark:
    """Return what is to be kept of a server that is written as `entry`."""
    sealable = access.seal is not None and gateway.auth != Auth()
    return Mark(
        stamp=change.stamp,
        signature=change.signature,
        record=change.record,
        description=gateway.description,
        auth=gateway.auth,
        credential=credential_digest(entry.get("credential", ""), salt),
        entry=entry_digest(entry, salt),
        seal=_seal(gateway.name, gateway.auth, access) if sealable else "",
    )


def live_gateways(
    entries: Iterable[Entry], marks: Mapping[str, Mark], salt: str, access: Access
) -> dict[str, LiveGateway]:
    """Return the servers as they are found, by name and in the order of the names.

    Names that several servers have belong to an owner that nobody is: planned as a conflict, none of them is written.
    """
    same: dict[str, list[Entry]] = {}
    for entry in entries:
        same.setdefault(name_of(entry), []).append(entry)
    live = {name: live_gateway(same[name][0], marks.get(name), salt, access) for name in sorted(same)}
    for name, found in live.items():
        if (number := len(same[name])) > 1:
            nobody = Stamp(f"{number} servers of this name", "", "", "", protected=True)
            live[name] = replace(found, stamp=nobody)
    return live


def live_gateway(entry: Entry, mark: Mark | None, salt: str, access: Access) -> LiveGateway:
    """Return a server as it is found; `mark` is what is known of it, None where that is nothing."""
    known = mark or Mark()
    url = entry.get("url", "")
    hostname = entry.get("hostname", "")
    gateway = Gateway(
        name=name_of(entry),
        url=url,
        transport=Transport.STREAMABLE_HTTP,
        description=known.description,
        enabled=is_enabled(entry),
        tags=tuple(entry.get("tags", ())),
        ca_certificate=entry.get("caCert", "").strip(),
        auth=_auth(entry, known, salt),
        kuadrant=KuadrantOptions(
            prefix=entry.get("prefix", ""),
            category=tuple(entry.get("category", ())),
            hint=_hint(entry),
            hostname="" if hostname == host_of(url) else hostname,
            user_specific_list=entry.get("userSpecificList", False),
        ),
    )
    token = _token(entry, mark, salt)
    outdated = ("auth",) if _is_outdated(gateway, entry.get("credential", ""), known, access) else ()
    return LiveGateway(gateway, known.signature, known.stamp, token, known.record, outdated)


def name_of(entry: Entry) -> str:
    """Return the name of a server, empty where it has none."""
    return cast("str", entry.get("name", ""))


def is_enabled(entry: Entry) -> bool:
    """Return whether the broker connects to a server: anything but `Enabled` or nothing switches it off."""
    return entry.get("state", "") in ("", ENABLED)


def credential_of(auth: Auth, access: Access) -> str:
    """Return the whole value of the header Authorization, or nothing.

    Raises:
        InputError: a secret is not there, or cannot be sent in a header.
    """
    if auth.type == "none":
        return ""
    ((_, reference),) = auth.secrets
    secret = access.secret(reference)
    if auth.type == "bearer":
        credential = f"Bearer {secret}"
    elif auth.type == "basic":
        pair = f"{dict(auth.settings)['username']}:{secret}".encode("utf-8", "surrogatepass")
        credential = f"Basic {b64encode(pair).decode()}"
    else:
        credential = secret
    if not _SENDABLE.fullmatch(credential):
        raise InputError("its credential has characters that no header can carry", fix="correct the secret")
    return credential


def is_as_written(entry: Entry, mark: Mark, salt: str) -> bool:
    """Return whether the credential of a server is the one that was written with its mark."""
    return mark.credential == credential_digest(entry.get("credential", ""), salt)


def _held(auth: Auth) -> Auth:
    """Return how a server can authenticate, which is by one value of the header Authorization."""
    settings, purposes = dict(auth.settings), [purpose for purpose, _ in auth.secrets]
    if auth.type == "bearer" and purposes == ["token"]:
        return Auth("bearer", (), auth.secrets)
    if auth.type == "basic" and purposes == ["password"] and "username" in settings:
        return Auth("basic", (("username", settings["username"]),), auth.secrets)
    if auth.type == "headers" and [purpose.lower() for purpose in purposes] == [_HEADER]:
        return Auth("headers", (), auth.secrets)
    return Auth()


def _auth(entry: Entry, mark: Mark, salt: str) -> Auth:
    """Return how a server authenticates: by our references, as long as its credential is the one that we wrote."""
    credential = entry.get("credential", "")
    if credential and not is_as_written(entry, mark, salt):
        return _OF_SCHEME.get(credential.partition(" ")[0].lower(), _OF_ANOTHER)
    return mark.auth if credential else Auth()


def _is_outdated(gateway: Gateway, credential: str, mark: Mark, access: Access) -> bool:
    """Return whether the references point at another secret by now.

    Only those that carry our seal are followed: whoever may write here must not choose what is read. A secret that
    cannot be had here and now says nothing, for plans are made without secrets too.
    """
    ours = gateway.auth != Auth() and gateway.auth == mark.auth
    if not ours or access.seal is None or mark.seal != _seal(gateway.name, mark.auth, access):
        return False
    try:
        return credential_of(mark.auth, access) != credential
    except InputError:
        return False


def _seal(name: str, auth: Auth, access: Access) -> str:
    return access.seal(canonical_json([name, auth_document(auth)])) if access.seal is not None else ""


def _hint(entry: Entry) -> str:
    hint: str = entry.get("hint", "")
    strange: Sequence[str] = strange_keys(entry)
    return unknown(f"{', '.join(strange)}; {hint}" if hint else ", ".join(strange)) if strange else hint


def _token(entry: Entry, mark: Mark | None, salt: str) -> str:
    known = mark_document(mark) if mark is not None else None
    return sha256(canonical_json([entry_digest(entry, salt), known]).encode()).hexdigest()[:32]
