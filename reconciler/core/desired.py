"""Manifests + Defaults + bundles -> DesiredState.

Every file, certificate and bundle is looked at once, however many gateways use it.
"""

from __future__ import annotations

import difflib
import posixpath
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from reconciler.core.constraints import excludes
from reconciler.core.fitness import client_problems
from reconciler.core.inheritance import Defaults, Spec, has, merge
from reconciler.core.model import (
    Auth,
    CaReference,
    ContextForgeOptions,
    DesiredGateway,
    DesiredState,
    Gateway,
    KuadrantOptions,
    SecretReference,
    Suspension,
    Transport,
    Visibility,
)
from reconciler.core.pem import read_pem
from reconciler.core.problems import Location, Problem, Rule, Severity, has_errors, in_order
from reconciler.core.reviewed_tools import ReviewedTools, lock_file, verify_policy
from reconciler.core.schema import MISSING, WRONG_VALUE
from reconciler.core.snapshot import LEAVES_ROOT, Failure, Files
from reconciler.core.strict_yaml import locate
from reconciler.core.trust import anchors, build_bundle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.core.certificate import ParsedCertificate
    from reconciler.core.manifest import Manifest
    from reconciler.core.model import Certificate, ToolsLock, TrustBundle
    from reconciler.core.pem import PemFile

DUPLICATE_NAME = Rule(
    "duplicate-name", Severity.ERROR, "Two manifests claim one gateway; which of them wins must not depend on luck."
)
MISSING_FILE = Rule("missing-file", Severity.ERROR, "A manifest refers to a file that is not there.")
UNUSABLE_FILE = Rule("unusable-file", Severity.ERROR, "A manifest refers to a file that cannot be read as one.")

_PRUNE: Final = "reconciler/prune"
_SUSPENDED: Final = "reconciler/suspend-until"
_SUSPENSION_REASON: Final = "reconciler/suspend-reason"
_USERS_SHOWN: Final = 3
_NO_AUTH: Final = Auth()
_NO_CONTEXTFORGE: Final = ContextForgeOptions()
_NO_KUADRANT: Final = KuadrantOptions()


@dataclass(frozen=True, slots=True)
class Material:
    """What a desired state is made of: manifests, the text they came from (for positions), and the files they name."""

    manifests: Sequence[Manifest]
    texts: Mapping[str, bytes]
    files: Files
    pem_files: Sequence[str] = ()
    problems: Sequence[Problem] = ()
    whole: bool = True
    lock_files: frozenset[str] = frozenset()


def referenced_files(manifests: Iterable[Manifest]) -> list[str]:
    """Return the root-relative paths of every PEM file that the manifests name, sorted and once each."""
    names: set[str] = set()
    for manifest in manifests:
        tls = manifest.spec.get("tls", {})
        names.update(tls.get("caCertificates", ()))
        if "clientCertificate" in tls:
            names.add(tls["clientCertificate"])
    return sorted(names)


def assemble(material: Material, now: datetime, *, expiry_warning_days: int = 30) -> DesiredState:
    """Return everything the manifests want, with every problem found on the way.

    A gateway with an error is left out, and `complete` is false then.
    """
    defaults = Defaults(material.manifests, material.texts)
    bundles = _Bundles(material.files, now, expiry_warning_days)
    locks = ReviewedTools(material.files)
    gateways: dict[str, DesiredGateway] = {}
    named: dict[str, Manifest] = {}
    problems = [*material.problems, *defaults.problems]
    for manifest in material.manifests:
        if manifest.kind != "Gateway":
            continue
        first = named.setdefault(manifest.name, manifest)
        if first is not manifest:
            problems.append(_duplicate(manifest, first, material))
            continue
        assembly = _Assembly(manifest, defaults, bundles, locks, material)
        gateway = assembly.gateway()
        problems.extend(assembly.problems)
        if gateway is not None:
            gateways[manifest.name] = gateway
    problems.extend((*bundles.problems(), *locks.problems()))
    return DesiredState(
        gateways=dict(sorted(gateways.items())),
        bundles={bundle.pem: bundle for bundle in bundles.all()},
        problems=in_order(problems),
        complete=material.whole and not has_errors(problems),
        clients=bundles.clients(),
    )


class _Built(NamedTuple):
    """A bundle or none, what is wrong with it, and where its chains end if any of its certificates limits names."""

    bundle: TrustBundle | None
    problems: tuple[Problem, ...]
    anchors: Sequence[ParsedCertificate]


class _Bundles:
    """Trust bundles, one for each distinct set of files: X.509 work is done once for what is shared by thousands."""

    def __init__(self, files: Files, now: datetime, expiry_warning_days: int) -> None:
        self._files = files
        self._now = now
        self._days = expiry_warning_days
        self._parsed: dict[str, PemFile] = {}
        self._built: dict[tuple[str, ...], _Built] = {}
        self._clients: dict[str, tuple[Problem, ...]] = {}
        self._users: defaultdict[str, list[Manifest]] = defaultdict(list)

    def of(self, names: Sequence[str], user: Manifest) -> TrustBundle | None:
        """Return the bundle of these files, or None if they do not make one."""
        self._note(names, user)
        return self._build(names).bundle

    def excludes(self, names: Sequence[str], url: str, user: Manifest) -> Problem | None:
        """Return the problem that no CA of these files may vouch for the host of `url`, if it is so."""
        return excludes(self._build(names).anchors, url, user.name)

    def client(self, name: str, user: Manifest) -> str | None:
        """Return one file's certificates as a client presents them, or None if it has an error."""
        self._note((name,), user)
        file = self._parse(name)
        if name not in self._clients:
            self._clients[name] = tuple(client_problems(file.parsed, self._now, self._days))
        if has_errors((*file.problems, *self._clients[name])):
            return None
        return "\n".join(certificate.pem for certificate in file.certificates)

    def all(self) -> Iterable[TrustBundle]:
        """Return every bundle, in an order that only the file names decide."""
        return [built.bundle for _, built in sorted(self._built.items()) if built.bundle is not None]

    def clients(self) -> tuple[Certificate, ...]:
        """Return what clients present, in an order that only the file names decide."""
        return tuple(each for name in sorted(self._clients) for each in self._parsed[name].certificates)

    def problems(self) -> list[Problem]:
        """Return what is wrong with the PEM files, each problem naming the manifests it hurts."""
        found = {problem for built in self._built.values() for problem in built.problems}
        found.update(problem for problems in self._clients.values() for problem in problems)
        found.update(problem for parsed in self._parsed.values() for problem in parsed.problems)
        return [self._named(problem) for problem in found]

    def _note(self, names: Iterable[str], user: Manifest) -> None:
        for name in names:
            self._users[name].append(user)

    def _build(self, names: Sequence[str]) -> _Built:
        key = tuple(sorted(set(names)))
        if key not in self._built:
            files = [self._parse(name) for name in key]
            bundle, problems = build_bundle(files, self._now, expiry_warning_days=self._days)
            limited = any(each.name_constraints is not None for file in files for each in file.parsed)
            self._built[key] = _Built(bundle, problems, anchors(files) if limited and bundle is not None else ())
        return self._built[key]

    def _parse(self, name: str) -> PemFile:
        if name not in self._parsed:
            self._parsed[name] = read_pem(name, self._files.data[name])
        return self._parsed[name]

    def _named(self, problem: Problem) -> Problem:
        users = self._users[problem.location.file]
        files = sorted({user.file for user in users})
        if not files:
            return problem
        more = f" and {len(files) - _USERS_SHOWN} more" if len(files) > _USERS_SHOWN else ""
        message = f"{problem.message} (used by {', '.join(files[:_USERS_SHOWN])}{more})"
        return replace(problem, message=message, gateways=tuple(sorted(user.name for user in users)))


class _Assembly:
    """One manifest becoming a gateway."""

    def __init__(
        self, manifest: Manifest, defaults: Defaults, bundles: _Bundles, locks: ReviewedTools, material: Material
    ) -> None:
        self._manifest = manifest
        self._defaults = defaults
        self._bundles = bundles
        self._locks = locks
        self._material = material
        self._directory = posixpath.dirname(manifest.file)
        self.problems: list[Problem] = []

    def gateway(self) -> DesiredGateway | None:
        """Return the desired gateway, or None after noting why there is none."""
        manifest = self._manifest
        inherited = self._defaults.spec(self._directory)
        spec = merge(inherited, manifest.spec) if inherited else manifest.spec
        self._require(spec, "url")
        self._require(spec, "transport")
        tls = spec.get("tls", {})
        ca_certificate = self._ca_certificate(tls.get("caCertificates", ()), spec.get("url", ""))
        client_certificate = self._client_certificate(tls.get("clientCertificate"))
        if self.problems or ca_certificate is None or client_certificate is None:
            return None
        return DesiredGateway(
            gateway=_gateway(manifest.name, spec, ca_certificate, client_certificate),
            location=Location(manifest.file, manifest.line),
            labels=tuple(sorted(manifest.labels.items())),
            verify=verify_policy(spec.get("verify", {}), self._tools_lock(spec)),
            protected=manifest.annotations.get(_PRUNE) == "disabled",
            suspension=self._suspension(manifest.annotations),
            ca_from=_ca_reference(tls.get("caFrom")),
        )

    def _suspension(self, annotations: Mapping[str, str]) -> Suspension | None:
        """Return until when the gateway is left alone. The schema has seen to the form, not to the calendar."""
        if _SUSPENDED not in annotations:
            return None
        try:
            until = datetime.fromisoformat(annotations[_SUSPENDED])
        except ValueError:
            where = _locate(self._material, self._manifest, "/metadata/annotations")
            message = f"`{_SUSPENDED}: {annotations[_SUSPENDED]}` is no day of the calendar"
            self.problems.append(WRONG_VALUE.at(where, message, fix="write a moment such as 2026-12-24T00:00:00Z"))
            return None
        return Suspension(until, annotations.get(_SUSPENSION_REASON, ""))

    def _require(self, spec: Spec, name: str) -> None:
        if name not in spec:
            message = f"`{name}` is set neither here nor by any Defaults above"
            fix = f"add `{name}:` under `spec`"
            self.problems.append(MISSING.at(_locate(self._material, self._manifest, "/spec"), message, fix=fix))

    def _ca_certificate(self, names: Sequence[str], url: str) -> str | None:
        if not names:
            return ""
        if not self._all_there(names, ("tls", "caCertificates")):
            return None
        bundle = self._bundles.of(names, self._manifest)
        excluded = self._bundles.excludes(names, url, self._manifest)
        if excluded is not None:
            self.problems.append(excluded)
        return bundle.pem if bundle is not None else None

    def _client_certificate(self, name: str | None) -> str | None:
        if name is None:
            return ""
        if not self._all_there((name,), ("tls", "clientCertificate")):
            return None
        return self._bundles.client(name, self._manifest)

    def _tools_lock(self, spec: Spec) -> ToolsLock | None:
        """Return the lock that the gateway is compared with, or None; one that is not there is an error, not none."""
        file = lock_file(self._manifest, spec, self._material.lock_files)
        if not file:
            return None
        if file in self._material.files.failures:
            self.problems.append(self._unavailable(file, 0, ("verify", "toolsLock")))
        return self._locks.of(file, self._manifest.name)

    def _all_there(self, names: Sequence[str], pointer: tuple[str, ...]) -> bool:
        failures = self._material.files.failures
        if not failures:
            return True
        missing = [(index, name) for index, name in enumerate(names) if name in failures]
        for index, name in missing:
            self.problems.append(self._unavailable(name, index, pointer))
        return not missing

    def _unavailable(self, name: str, index: int, pointer: tuple[str, ...]) -> Problem:
        failure = self._material.files.failures[name]
        origin = self._manifest
        if not has(origin.spec, pointer):
            origin = self._defaults.origin(self._directory, pointer) or origin
        place = "/".join(("", "spec", *pointer)) + (f"/{index}" if pointer[-1] == "caCertificates" else "")
        where = _locate(self._material, origin, place)
        if failure is Failure.MISSING:
            fix = self._near(name) if pointer[0] == "tls" else f"write it with `reconciler lock {self._manifest.name}`"
            return MISSING_FILE.at(where, f"there is no file {name}", fix=fix)
        if failure is Failure.LEAVES_ROOT:
            message = f"{name} leads out of the repository through a link, so it was not read"
            return LEAVES_ROOT.at(where, message, fix="replace the link by the file")
        return UNUSABLE_FILE.at(where, f"{name} is {failure}", fix="give a readable file")

    def _near(self, name: str) -> str:
        stem = posixpath.splitext(name)[0]
        same_stem = [each for each in self._material.pem_files if posixpath.splitext(each)[0] == stem]
        near = same_stem or difflib.get_close_matches(name, self._material.pem_files, n=1)
        return f"did you mean {near[0]}?" if near else "add the file, or correct the path (it is relative to this file)"


def _gateway(name: str, spec: Spec, ca_certificate: str, client_certificate: str) -> Gateway:
    tls = spec.get("tls", {})
    contextforge = spec.get("contextforge", {})
    return Gateway(
        name=name,
        url=spec["url"],
        transport=Transport(spec["transport"]),
        description=spec.get("description", "").strip(),
        enabled=spec.get("enabled", True),
        visibility=Visibility(spec.get("visibility", Visibility.PRIVATE)),
        tags=tuple(sorted(set(spec.get("tags", ())))),
        passthrough_headers=tuple(dict.fromkeys(spec.get("passthroughHeaders", ()))),
        ca_certificate=ca_certificate,
        system_trust=tls.get("systemTrust", True),
        client_certificate=client_certificate,
        client_key=_reference(tls.get("clientKeyFrom")),
        auth=_auth(spec["auth"]) if "auth" in spec else _NO_AUTH,
        contextforge=ContextForgeOptions(contextforge.get("mode", "cache"), contextforge.get("team") or "")
        if contextforge
        else _NO_CONTEXTFORGE,
        kuadrant=_kuadrant(spec["kuadrant"]) if spec.get("kuadrant") else _NO_KUADRANT,
    )


def _kuadrant(spec: Spec) -> KuadrantOptions:
    parent = spec.get("parentRef", {})
    return KuadrantOptions(
        prefix=spec.get("prefix", ""),
        route=spec.get("route", ""),
        category=tuple(spec.get("category", ())),
        hint=spec.get("hint", ""),
        hostname=spec.get("hostname", ""),
        parent=parent.get("name", ""),
        parent_namespace=parent.get("namespace", ""),
        listener=parent.get("sectionName", ""),
        user_specific_list=spec.get("userSpecificList", False),
    )


def _ca_reference(value: Spec | None) -> CaReference | None:
    if value is None:
        return None
    ((kind, found),) = value.items()
    return CaReference(cast("Any", kind), found["name"], found["key"])


def _reference(value: Spec | None) -> SecretReference | None:
    if value is None:
        return None
    if "env" in value:
        return SecretReference("env", value["env"])
    if "file" in value:
        return SecretReference("file", value["file"])
    return SecretReference("secretKeyRef", value["secretKeyRef"]["name"], value["secretKeyRef"]["key"])


def _auth(spec: Spec) -> Auth:
    kind = spec["type"]
    settings: dict[str, str] = {}
    secrets: dict[str, SecretReference] = {}
    for key, value in spec.items():
        if key.endswith("From"):
            secrets[key.removesuffix("From")] = cast("SecretReference", _reference(value))
        elif key == "headers":
            secrets.update(
                (header["name"], cast("SecretReference", _reference(header["valueFrom"]))) for header in value
            )
        elif key == "scopes":
            settings[key] = " ".join(value)
        elif key != "type":
            settings[key] = value
    return Auth(kind, tuple(sorted(settings.items())), tuple(sorted(secrets.items())))


def _locate(material: Material, manifest: Manifest, pointer: str) -> Location:
    return locate(manifest.file, material.texts[manifest.file], manifest.document, pointer)


def _duplicate(manifest: Manifest, first: Manifest, material: Material) -> Problem:
    message = f"`{manifest.name}` is also the name of {first.file}:{first.line}"
    where = _locate(material, manifest, "/metadata/name")
    return DUPLICATE_NAME.at(where, message, fix="give one of the two another name, or remove it")
