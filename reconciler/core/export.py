"""LiveState -> the files that describe it: a manifest for each gateway, and the PEM files that these name.

The inverse of `reconciler.core.desired`. Nothing is taken on trust: what was written is read again, by the same code
that reads what people write, and a row that does not come back is reported and left out. Rows are hostile: no name of
one becomes the name of a file before it is known to be a DNS label. Secrets are not in a store's rows as they are read,
and where even the reference is missing there is one to fill in.

What a store does not keep cannot be written: labels, and how an upstream is verified.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.canonical import reference_document
from reconciler.core.desired import Material, assemble
from reconciler.core.hostile import printable
from reconciler.core.manifest import API_VERSION, read_manifests
from reconciler.core.manifest_text import ToFillIn, manifest_text
from reconciler.core.model import Auth, LiveState, Transport, Visibility
from reconciler.core.pem_export import PemFiles
from reconciler.core.planning import differing_fields
from reconciler.core.problems import Location, Problem, Rule, Severity, in_order
from reconciler.core.snapshot import Files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from reconciler.core.manifest import Manifest
    from reconciler.core.model import DesiredGateway, Gateway, KuadrantOptions, LiveGateway, SecretReference
    from reconciler.core.schema import Schemas

NOT_EXPRESSIBLE = Rule(
    "not-expressible",
    Severity.WARNING,
    "A row that no manifest can describe is left out of a dump, and a prune by what was dumped would delete it.",
)
NOT_CANONICAL = Rule(
    "row-not-canonical",
    Severity.INFO,
    "A row in another form than ours means the same as its manifest, and the first apply writes it in our form.",
)
TO_FILL_IN = Rule(
    "secret-to-fill-in",
    Severity.WARNING,
    "Where a store does not say where a credential is found, somebody has to; the credential itself stays out of git.",
)
NOT_GENUINE = Rule(
    "bundle-not-genuine",
    Severity.WARNING,
    "A CA bundle that no trusted key signed may be an intruder's, and once dumped and merged it is the reviewed one.",
)

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_TAKEN_STEMS: Final = frozenset(("reconciler", "defaults"))
_UNKNOWN: Final = "unknown"
_KINDS: Final = {"transport": Transport, "visibility": Visibility, "enabled": bool, "system_trust": bool}
"""What is of another type in rows that others wrote."""

_REFERENCES: Final = frozenset(("env", "file", "secretKeyRef"))
_REASONS_SHOWN: Final = 3
_LEAVE: Final = "mend the row with the tool that wrote it, or write its manifest by hand; until then, do not prune"

_AUTH_FIELDS: Final[Mapping[str, Mapping[str, str]]] = {
    "none": {},
    "bearer": {"tokenFrom": "TOKEN"},
    "basic": {"username": "to-fill-in", "passwordFrom": "PASSWORD"},
    "headers": {},
    "queryParameter": {"name": "to-fill-in", "valueFrom": "VALUE"},
    "oauth": {
        "tokenUrl": "https://to-fill-in.invalid/token",
        "clientId": "to-fill-in",
        "clientSecretFrom": "CLIENT_SECRET",
    },
}
"""The required fields by type, and what stands for one that is not known: of a reference, the variable's last words."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Context:
    """What holds for every row.

    `place` names the store in problems. `labels` are written into every manifest, for the target selects by them.
    `genuine` says whether a trusted key made a stored signature over exactly that text.
    """

    place: str
    labels: Mapping[str, str] = field(default_factory=dict)
    modeline: str = ""
    genuine: Callable[[str, str], bool] = lambda _text, _signature: True


@dataclass(frozen=True, slots=True)
class Export:
    """What was made of a store: files by relative path, the names of those described and those not, and what to know.

    `to_fill_in` are those of `written` that wait for somebody to complete them.
    """

    files: Mapping[str, bytes]
    written: tuple[str, ...]
    left_out: tuple[str, ...]
    to_fill_in: tuple[str, ...]
    problems: tuple[Problem, ...]


def held_by(live: LiveState, owner: str) -> LiveState:
    """Return the gateways of `owner` and those of nobody."""
    return LiveState(
        {name: found for name, found in live.gateways.items() if found.stamp is None or found.stamp.owner == owner}
    )


def export(live: LiveState, schemas: Schemas, now: datetime, context: Context) -> Export:
    """Return the files that describe what is live, and what of it could not be described. Never raises.

    `now` is aware: a bundle that has expired by then is not one that a manifest can name.
    """
    pem_files = PemFiles(text for found in live.gateways.values() for text in _pem_texts(found.gateway))
    drafts: dict[str, _Draft] = {}
    obstacles: dict[str, str] = {}
    for name, found in live.gateways.items():
        draft = _draft(found, pem_files, schemas, context)
        if isinstance(draft, str):
            obstacles[name] = draft
        else:
            drafts[name] = draft
    understood, refused = _read_again(drafts, pem_files, now)
    obstacles.update(refused)
    problems = [_not_expressible(name, why, context) for name, why in obstacles.items()]
    written = {name: drafts[name] for name in understood}
    for name, draft in written.items():
        problems.extend(_remarks(live.gateways[name], draft, understood[name].gateway, context))
    return Export(
        files=dict(sorted(_files(written.values(), pem_files))),
        written=tuple(sorted(written)),
        left_out=tuple(sorted(obstacles)),
        to_fill_in=tuple(sorted(name for name, draft in written.items() if draft.to_fill_in)),
        problems=in_order(problems),
    )


@dataclass(frozen=True, slots=True)
class _Draft:
    """A manifest as written and read again, the PEM files that it names, and the fields somebody has to fill in."""

    manifest: Manifest
    text: bytes
    named: tuple[str, ...]
    to_fill_in: tuple[str, ...]


def _draft(found: LiveGateway, pem_files: PemFiles, schemas: Schemas, context: Context) -> _Draft | str:
    """Return the manifest of a row, or why there can be none."""
    gateway = found.gateway
    obstacle = _obstacle(gateway) or next(filter(None, map(pem_files.obstacle, _pem_texts(gateway))), "")
    if obstacle:
        return obstacle
    document = _document(found, pem_files, context.labels)
    text = manifest_text(document, modeline=context.modeline).encode()
    read = read_manifests(_file(gateway.name), text, schemas)
    if read.problems or not read.manifests:
        return _reasons(problem.message for problem in read.problems)
    named = tuple(map(pem_files.name, _pem_texts(gateway)))
    return _Draft(read.manifests[0], text, named, tuple(_waiting(document["spec"])))


def _file(name: str) -> str:
    """Return the file of a gateway. A DNS label has no dot, so what is no name of ours is no other gateway's either."""
    return f"{name}.gateway.yaml" if name in _TAKEN_STEMS else f"{name}.yaml"


def _pem_texts(gateway: Gateway) -> Iterator[str]:
    return filter(None, (gateway.ca_certificate, gateway.client_certificate))


def _obstacle(gateway: Gateway) -> str:
    """Return what keeps a row from having a manifest before one is even tried, or nothing."""
    if not _NAME.fullmatch(gateway.name):
        return "its name is no DNS label: at most 63 lower-case letters, digits and hyphens"
    if odd := [name for name, kinds in _KINDS.items() if not isinstance(getattr(gateway, name), kinds)]:
        return _reasons(f"{name} is nothing that we know" for name in odd)
    texts = list(_texts(asdict(gateway)))
    if odd := [place for place, text in texts if text.startswith(f"{_UNKNOWN}:")]:
        return _reasons(f"{place} is nothing that we know" for place in odd)
    if odd := [place for place, text in texts if not _is_encodable(text)]:
        return _reasons(f"{place} is not text" for place in odd)
    if strays := _stray_fields(gateway.auth):
        return f"its authentication has what {gateway.auth.type} has not: {', '.join(strays[:_REASONS_SHOWN])}"
    return ""


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - whatever a gateway is made of
    """Yield every text in a value, with the attribute of the gateway that it is in."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from _texts(below, place or key)
    elif isinstance(value, (list, tuple)):
        for below in value:
            yield from _texts(below, place)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _document(found: LiveGateway, pem_files: PemFiles, labels: Mapping[str, str]) -> Document:
    """Return the manifest of a row, in the order of the schema and without what is so by default."""
    gateway = found.gateway
    protected = found.stamp is not None and found.stamp.protected
    metadata = {
        "name": gateway.name,
        "labels": dict(labels),
        "annotations": {"reconciler/prune": "disabled"} if protected else {},
    }
    spec = {
        "url": gateway.url,
        "transport": str(gateway.transport),
        "description": gateway.description,
        "enabled": None if gateway.enabled is True else gateway.enabled,
        "visibility": None if gateway.visibility == Visibility.PRIVATE else str(gateway.visibility),
        "tags": list(gateway.tags),
        "passthroughHeaders": list(gateway.passthrough_headers),
        "tls": _tls(gateway, pem_files),
        "auth": _auth(gateway),
        "contextforge": _contextforge(gateway),
        "kuadrant": _kuadrant(gateway.kuadrant),
    }
    return {"apiVersion": API_VERSION, "kind": "Gateway", "metadata": _said(metadata), "spec": _said(spec)}


def _said(document: Document) -> Document:
    """Return the fields that say something. An empty one says what its absence does."""
    return {key: value for key, value in document.items() if value not in (None, "", [], {})}


def _tls(gateway: Gateway, pem_files: PemFiles) -> Document:
    client, key = gateway.client_certificate, gateway.client_key
    return _said(
        {
            "caCertificates": [pem_files.name(gateway.ca_certificate)] if gateway.ca_certificate else [],
            "systemTrust": None if gateway.system_trust is True else gateway.system_trust,
            "clientCertificate": pem_files.name(client) if client else "",
            "clientKeyFrom": _reference(key, gateway.name, "CLIENT_KEY") if client or key else {},
        }
    )


def _contextforge(gateway: Gateway) -> Document:
    options = gateway.contextforge
    return _said({"mode": "" if options.mode == "cache" else options.mode, "team": options.team})


def _kuadrant(options: KuadrantOptions) -> Document:
    parent = {"name": options.parent, "namespace": options.parent_namespace, "sectionName": options.listener}
    return _said(
        {
            "prefix": options.prefix,
            "route": options.route,
            "category": list(options.category),
            "hint": options.hint,
            "hostname": options.hostname,
            "parentRef": _said(parent),
            "userSpecificList": options.user_specific_list or None,
        }
    )


def _auth(gateway: Gateway) -> Document:
    auth = gateway.auth
    if auth.type == "none":
        return {}
    settings, secrets = dict(auth.settings), dict(auth.secrets)
    document: Document = {"type": auth.type}
    for key, stand_in in _AUTH_FIELDS.get(auth.type, {}).items():
        if key.endswith("From"):
            document[key] = _reference(secrets.get(key.removesuffix("From")), gateway.name, stand_in)
        else:
            document[key] = settings.get(key, ToFillIn(stand_in))
    if "scopes" in settings:
        document["scopes"] = settings["scopes"].split(" ") if settings["scopes"] else []
    if auth.type == "headers":
        headers = auth.secrets or ((ToFillIn("To-Fill-In"), None),)
        document["headers"] = [
            {"name": name, "valueFrom": _reference(reference, gateway.name, "HEADER")} for name, reference in headers
        ]
    return document


def _stray_fields(auth: Auth) -> list[str]:
    """Return what stands in an `Auth` and in no manifest of its type, made fit to be shown.

    What could not be read as references at all is no stray: it is filled in, unless nothing says what it is for.
    """
    fields = _AUTH_FIELDS.get(auth.type, {})
    settings = {key for key, _ in auth.settings} - fields.keys()
    secrets = {f"{purpose}From" for purpose, _ in auth.secrets} - fields.keys()
    if auth.type == "oauth":
        settings.discard("scopes")
    if auth.type == "headers":
        secrets.clear()
    if auth.type != "none" and not auth.secrets:
        settings.discard(_UNKNOWN)
    return [printable(key, 40) for key in sorted((*settings, *secrets))]


def _reference(reference: SecretReference | None, name: str, purpose: str) -> Document:
    """Return a reference as a manifest has it, or one to fill in where the store has none, or none that is known."""
    if reference is not None and reference.kind in _REFERENCES:
        return reference_document(reference) or {}
    variable = f"{name}_{purpose}".upper().replace("-", "_")
    return {"env": ToFillIn(f"_{variable}" if variable[0].isdigit() else variable)}


def _waiting(document: Any, place: str = "") -> Iterator[str]:  # noqa: ANN401 - any value of a document
    """Yield the fields that somebody has to fill in, as `auth.tokenFrom`."""
    if isinstance(document, ToFillIn):
        yield place
    elif isinstance(document, dict):
        for key, value in document.items():
            yield from _waiting(value, place if place.endswith("From") else f"{place}.{key}".lstrip("."))
    elif isinstance(document, list):
        for value in document:
            yield from _waiting(value, place)


def _read_again(
    drafts: Mapping[str, _Draft], pem_files: PemFiles, now: datetime
) -> tuple[Mapping[str, DesiredGateway], dict[str, str]]:
    """Return what the manifests say by the rules of every tree, and why some of them are refused."""
    material = Material(
        manifests=[draft.manifest for draft in drafts.values()],
        texts={draft.manifest.file: draft.text for draft in drafts.values()},
        files=Files({name: pem_files.data[name] for draft in drafts.values() for name in draft.named}),
    )
    desired = assemble(material, now)
    why: defaultdict[str, list[str]] = defaultdict(list)
    for problem in desired.problems:
        if problem.severity is Severity.ERROR:
            for name in problem.gateways:
                why[name].append(problem.message)
    refused = drafts.keys() - desired.gateways.keys()
    return desired.gateways, {name: _reasons(why[name]) for name in refused}


def _reasons(reasons: Iterable[str]) -> str:
    """Return a few reasons as one sentence."""
    every = list(dict.fromkeys(reasons)) or ["it does not read back as it is"]
    more = f"; and {len(every) - _REASONS_SHOWN} more" if len(every) > _REASONS_SHOWN else ""
    return f"{'; '.join(every[:_REASONS_SHOWN])}{more}"


def _not_expressible(name: str, why: str, context: Context) -> Problem:
    message = f"`{printable(name, 80)}` is left out, for no manifest can say what it is: {why}"
    return NOT_EXPRESSIBLE.at(Location(context.place), message, fix=_LEAVE, gateways=(name,))


def _remarks(found: LiveGateway, draft: _Draft, described: Gateway, context: Context) -> Iterator[Problem]:
    """Yield what to know of a row that is described."""
    row, about = found.gateway, (found.gateway.name,)
    here = Location(draft.manifest.file, draft.manifest.line)
    if draft.to_fill_in:
        message = f"the store does not say what {' and '.join(draft.to_fill_in)} of `{row.name}` refer to"
        fix = "write where the credential is found; the comment `# to fill in` marks the place"
        yield TO_FILL_IN.at(here, message, fix=fix, gateways=about)
    elif differing := differing_fields(row, described):
        message = f"`{row.name}` holds {', '.join(differing)} in another form than its manifest"
        fix = "nothing to do: the next apply writes it as the manifest says"
        yield NOT_CANONICAL.at(here, message, fix=fix, gateways=about)
    vouched_for = found.stamp is not None or found.signature
    if vouched_for and not context.genuine(row.ca_certificate, found.signature):
        message = f"no trusted key made the signature that the store holds for the CA bundle of `{row.name}`"
        fix = "find out who wrote it before you merge it: `reconciler ca inspect` shows whom it trusts"
        yield NOT_GENUINE.at(here, message, fix=fix, gateways=about)


def _files(drafts: Iterable[_Draft], pem_files: PemFiles) -> Iterator[tuple[str, bytes]]:
    for draft in drafts:
        yield draft.manifest.file, draft.text
        yield from ((name, pem_files.data[name]) for name in draft.named)
