"""What the objects of a gateway say of it. Pure.

Each thing is read where Kuadrant reads it, so that whoever changes it there is seen; only what has no field there comes
from our annotations. What others set and the manifest leaves alone is not looked at, unless it decides whom to trust or
what to send. An object that is there without its registration is a gateway half written, and shows as one.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit, urlunsplit

from reconciler.core.model import (
    Auth,
    ContextForgeOptions,
    Gateway,
    KuadrantOptions,
    LiveGateway,
    SecretReference,
    Transport,
    Visibility,
)
from reconciler.stores.kubernetes.marks import gateway_of, listed, mapping, row_of, signatures_of, stamp_of
from reconciler.stores.kubernetes.objects import (
    CA_KEY,
    REGISTRATION,
    ROUTE,
    SECRET,
    SERVICE,
    Backend,
    Kind,
    backend_of,
    path_of,
    route_name,
)
from reconciler.stores.rows import text_of, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Found = Mapping[str, Any]

DEFAULTS: Final[Mapping[str, object]] = {"category": ["uncategorised"], "userSpecificList": "Disabled"}
"""What the API server puts in where nobody says anything."""

_TRANSPORTS: Final[Mapping[Any, Transport]] = {each.value: each for each in Transport}


@dataclass(frozen=True, slots=True)
class Parts:
    """The objects of one gateway, as found.

    `ca` is the Secret that its registration names, whoever owns it. `spare` are further ones of ours that a change left
    behind when it broke off.
    """

    objects: Mapping[Kind, Found] = field(default_factory=dict)
    ca: Found | None = None
    spare: tuple[tuple[Kind, Found], ...] = ()

    def ours(self) -> list[tuple[Kind, Found]]:
        """Return the objects that exist for the registration alone, and that we made."""
        return [(kind, found) for kind, found in self.objects.items() if kind is not REGISTRATION] + list(self.spare)


def by_gateway(found: Mapping[Kind, Sequence[Found]]) -> dict[str, Parts]:
    """Return the objects of each gateway: registrations by their own name, the others by our label."""
    registrations = {name_of(each): each for each in found[REGISTRATION]}
    others: defaultdict[str, defaultdict[Kind, list[Found]]] = defaultdict(lambda: defaultdict(list))
    for kind, objects in found.items():
        for each in objects if kind is not REGISTRATION else ():
            if name := gateway_of(each):
                others[name][kind].append(each)
    every = sorted({*registrations, *others})
    return {name: parts_of(name, registrations.get(name), others.get(name, {})) for name in every}


def parts_of(name: str, registration: Found | None, others: Mapping[Kind, Sequence[Found]]) -> Parts:
    """Return the objects of one gateway. Of several of a kind the first is meant, or the route that is in use."""
    target = text_of(mapping(_spec(registration or {}).get("targetRef")).get("name"))
    objects: dict[Kind, Found] = {} if registration is None else {REGISTRATION: registration}
    spare: list[tuple[Kind, Found]] = []
    for kind, found in others.items():
        ours = [each for each in found if gateway_of(each) == name]
        ours.sort(key=lambda each: (name_of(each) != target, name_of(each)))
        if ours:
            objects[kind] = ours[0]
        spare.extend((kind, each) for each in ours[1:])
    secret = objects.get(SECRET)
    ca = secret if secret is not None and name_of(secret) == ca_secret(objects) else None
    return Parts(objects, ca, tuple(spare))


def ca_secret(objects: Mapping[Kind, Found]) -> str:
    """Return the name of the Secret with the CA: the one the registration names, or ours where there is none yet."""
    if REGISTRATION in objects:
        return text_of(mapping(_spec(objects[REGISTRATION]).get("caCertSecretRef")).get("name"))
    return name_of(objects[SECRET]) if SECRET in objects else ""


def live_gateway(name: str, parts: Parts, namespace: str) -> LiveGateway:
    """Return what the objects of a gateway say."""
    marked = next((parts.objects[kind] for kind in (REGISTRATION, ROUTE, SERVICE, SECRET) if kind in parts.objects), {})
    signature, record = signatures_of(marked)
    return LiveGateway(
        _gateway(name, parts, row_of(marked), namespace), signature, stamp_of(marked), token(parts), record
    )


def token(parts: Parts) -> str:
    """Return the versions of the objects.

    Of a route it is the count of its specifications: its status is rewritten whenever anybody's listener changes.
    """
    route, registration = parts.objects.get(ROUTE, {}), parts.objects.get(REGISTRATION, {})
    marks = [
        text_of(_metadata(registration).get("uid")),
        resource_version(registration),
        resource_version(parts.ca or {}),
        *(resource_version(parts.objects.get(kind, {})) for kind in (SECRET, SERVICE)),
        text_of(_metadata(route).get("uid")),
        str(_metadata(route).get("generation", "")),
        *(resource_version(each) for _, each in parts.spare),
    ]
    return ":".join(marks)


def canonical(gateway: Gateway) -> Gateway:
    """Return what the cluster shows after it was given `gateway`. Pure and idempotent.

    A certificate to present, headers to pass on, an audience, and the options of the other platform it does not hold.
    A host name without a Gateway to make a route below makes none.
    """
    options = gateway.kuadrant
    if not options.hostname:
        options = replace(options, parent="", parent_namespace="", listener="")
    form = replace(
        gateway,
        visibility=Visibility.PRIVATE,
        passthrough_headers=(),
        system_trust=True,
        client_certificate="",
        client_key=None,
        auth=_canonical_auth(gateway.auth),
        contextforge=ContextForgeOptions(),
        kuadrant=replace(options, route=route_name(gateway)),
    )
    return gateway if form == gateway else form


def name_of(found: Found) -> str:
    """Return the name of an object."""
    return text_of(_metadata(found).get("name"))


def resource_version(found: Found) -> str:
    """Return the version of an object, or the empty string."""
    return text_of(_metadata(found).get("resourceVersion"))


def decoded(found: Found, key: str) -> str:
    """Return the text under a key of a Secret; empty where there is none."""
    value = mapping(found.get("data")).get(key)
    if not isinstance(value, str):
        return ""
    try:
        return b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return str(unknown("not text"))


def _canonical_auth(auth: Auth) -> Auth:
    """Return the one credential that a registration has room for."""
    return Auth() if not auth.secrets else replace(auth, secrets=auth.secrets[:1])


def _gateway(name: str, parts: Parts, row: Mapping[str, Any], namespace: str) -> Gateway:
    spec = _spec(parts.objects.get(REGISTRATION, {}))
    transport = row.get("transport", Transport.STREAMABLE_HTTP.value)
    shown = _declared(spec, row)
    made = Gateway(
        name=name,
        url=_url(spec, row),
        transport=_TRANSPORTS.get(transport) or unknown(transport),
        description=text_of(row.get("description")),
        enabled=spec.get("state", "Enabled") == "Enabled",
        tags=tuple(sorted(set(_texts(shown.get("tags"))))),
        ca_certificate=_ca(parts, spec),
        auth=_auth(spec, row),
        kuadrant=KuadrantOptions(
            prefix=text_of(spec.get("prefix")),
            route=text_of(mapping(spec.get("targetRef")).get("name")),
            category=tuple(_texts(shown.get("category"))),
            hint=text_of(shown.get("hint")),
            user_specific_list=shown.get("userSpecificList", "Disabled") != "Disabled",
        ),
    )
    return _with_route(made, parts, namespace) if ROUTE in parts.objects else made


def _declared(spec: Found, row: Mapping[str, Any]) -> Found:
    """Return the optional fields to look at: those that we declared, or all that is no default where we did nothing."""
    if "declared" in row:
        return {name: spec.get(name) for name in _texts(row["declared"]) if name in spec}
    return {name: value for name, value in spec.items() if value != DEFAULTS.get(name)}


def _url(spec: Found, row: Mapping[str, Any]) -> str:
    """Return the URL: ours, with the path that Kuadrant uses; without ours nobody can tell."""
    path, url = text_of(spec.get("path", "/mcp")), text_of(row.get("url"))
    if not url:
        return str(unknown(path))
    try:
        if path_of(url) == path or not spec:
            return url
        return urlunsplit(urlsplit(url)._replace(path=path, query=""))
    except ValueError:
        return str(unknown(url))


def _ca(parts: Parts, spec: Found) -> str:
    reference = mapping(spec.get("caCertSecretRef"))
    if parts.ca is None:
        return str(unknown(f"no Secret {text_of(reference.get('name'))}")) if reference else ""
    return decoded(parts.ca, text_of(reference.get("key")) or CA_KEY)


def _auth(spec: Found, row: Mapping[str, Any]) -> Auth:
    """Return how Kuadrant authenticates: by one header, whose whole value stands in a Secret."""
    reference = mapping(spec.get("credentialRef"))
    if not reference:
        return Auth()
    written = mapping(row.get("auth"))
    kind = text_of(written.get("type"))
    if kind in ("", "none"):
        kind = "headers"
    purpose = next(iter(_texts(written.get("purposes"))), "Authorization")
    secret = SecretReference("secretKeyRef", text_of(reference.get("name")), text_of(reference.get("key", "token")))
    settings = {text_of(name): text_of(value) for name, value in mapping(written.get("settings")).items()}
    return Auth(cast("Any", kind), tuple(sorted(settings.items())), ((purpose, secret),))


def _with_route(gateway: Gateway, parts: Parts, namespace: str) -> Gateway:
    """Return the gateway with what the route that we made says. A backend of somebody else's is not our URL."""
    spec = _spec(parts.objects[ROUTE])
    parents = listed(spec.get("parentRefs"))
    parent = mapping(parents[0]) if len(parents) == 1 else {"name": unknown(f"{len(parents)} parents")}
    hosts = _texts(spec.get("hostnames"))
    options = replace(
        gateway.kuadrant,
        hostname=hosts[0] if len(hosts) == 1 else unknown(f"{len(hosts)} host names"),
        parent=text_of(parent.get("name")),
        parent_namespace=text_of(parent.get("namespace")),
        listener=text_of(parent.get("sectionName")),
    )
    try:
        wanted = backend_of(gateway, namespace)
    except ValueError:
        wanted = None
    found = _backend(spec, parts.objects.get(SERVICE), namespace)
    url = gateway.url if found == wanted else unknown(f"the route leads to {found.outer or found.service}:{found.port}")
    return replace(gateway, url=url, kuadrant=options)


def _backend(spec: Found, service: Found | None, namespace: str) -> Backend:
    rules = listed(spec.get("rules"))
    references = listed(mapping(rules[0]).get("backendRefs")) if len(rules) == 1 else []
    target = mapping(references[0]) if len(references) == 1 else {}
    outer, port = "", target.get("port")
    if service is not None and name_of(service) == target.get("name"):
        outer = text_of(_spec(service).get("externalName"))
        ports = [mapping(each).get("port") for each in listed(_spec(service).get("ports"))]
        port = port if ports == [port] else None
    name, where = text_of(target.get("name")), text_of(target.get("namespace")) or namespace
    return Backend(name, where, port if isinstance(port, int) else 0, outer)


def _spec(found: Found) -> Found:
    return mapping(found.get("spec"))


def _metadata(found: Found) -> Found:
    return mapping(found.get("metadata"))


def _texts(value: object) -> list[str]:
    return list(map(text_of, cast("Iterable[Any]", listed(value))))
