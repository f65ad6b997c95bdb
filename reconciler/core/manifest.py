"""YAML bytes -> Manifest or Problems, each with file, line and column.

Below the managed path every document counts. It is ours, or it says clearly that it is somebody else's; everything else
is an error, because a mistyped `apiVersion` must never make a gateway vanish from the desired state.
"""

from __future__ import annotations

import difflib
import posixpath
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from reconciler.core.hostile import printable
from reconciler.core.problems import Location, Problem, Rule, Severity
from reconciler.core.schema import SECRET, Finding
from reconciler.core.snapshot import LEAVES_ROOT
from reconciler.core.strict_yaml import locate, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.core.schema import Schemas
    from reconciler.core.strict_yaml import Document

Kind = Literal["Gateway", "Defaults", "Config"]

NOT_A_MANIFEST = Rule(
    "not-a-manifest",
    Severity.ERROR,
    "A document in the managed tree that is nothing known could be a mistyped gateway.",
)
WRONG_VERSION = Rule("wrong-api-version", Severity.ERROR, "The document is ours and of a version that is not known.")
WRONG_KIND = Rule("wrong-kind", Severity.ERROR, "The document is ours and of a kind that is not known.")
PRIVATE_KEY = Rule(
    "private-key", Severity.ERROR, "A private key in git is not private. It has to be replaced by a new one."
)

API_VERSION: Final = "reconciler/v1"
KINDS: Final = ("Gateway", "Defaults", "Config")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}
_NEAR: Final = 0.7


@dataclass(frozen=True, slots=True)
class Manifest:
    """One document that passed its schema. `spec` has its file names resolved: root-relative, in POSIX form.

    `document` counts the file's documents from 0; `line` is where it begins.
    """

    kind: Kind
    name: str
    spec: dict[str, Any]
    file: str
    document: int
    line: int
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """What one file holds. `foreign` counts the documents that are somebody else's."""

    file: str
    manifests: tuple[Manifest, ...]
    problems: tuple[Problem, ...]
    foreign: int = 0


def read_manifests(file: str, data: bytes, schemas: Schemas) -> ManifestFile:
    """Read every document of a file. Never raises: whatever is wrong is among the problems."""
    read = read_yaml(file, data)
    problems = list(read.problems)
    if b"PRIVATE KEY-----" in data:
        problems.append(_private_key(file, data))
    manifests: list[Manifest] = []
    foreign = 0
    for index, document in enumerate(read.documents):
        kind = _kind(document.value)
        if kind is None:
            found = _misfit(document.value)
            foreign += found is None
            problems.extend(_problems(file, data, index, [found] if found else []))
        elif not schemas.accepts(kind, document.value):
            problems.extend(_problems(file, data, index, schemas.explain(kind, document.value)))
        else:
            manifest = _manifest(kind, file, index, document)
            bad_paths = list(_resolve_paths(manifest))
            problems.extend(_problems(file, data, index, bad_paths))
            if not bad_paths:
                manifests.append(manifest)
    return ManifestFile(file, tuple(manifests), _discreet(problems) if problems else (), foreign)


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as `5s`, `500ms` or `1m`, which the schema has already allowed."""
    number = text.rstrip("ms")
    return float(number) * _UNITS[text[len(number) :]]


def _kind(value: Any) -> Kind | None:  # noqa: ANN401 - any YAML value
    if isinstance(value, dict) and value.get("apiVersion") == API_VERSION and value.get("kind") in KINDS:
        return cast("Kind", value["kind"])
    return None


def _manifest(kind: Kind, file: str, index: int, document: Document) -> Manifest:
    metadata = document.value["metadata"]
    return Manifest(
        kind,
        metadata["name"],
        document.value["spec"],
        file,
        index,
        document.line,
        metadata.get("labels", {}),
        metadata.get("annotations", {}),
    )


def _misfit(value: Any) -> Finding | None:  # noqa: ANN401 - any YAML value
    """Return why a document that is not ours might have been meant to be, or None when it is clearly foreign."""
    if not isinstance(value, dict):
        return Finding(NOT_A_MANIFEST, "", "a manifest is a mapping with `apiVersion` and `kind`", _ELSEWHERE)
    version, kind = value.get("apiVersion"), value.get("kind")
    if version == API_VERSION:
        near = difflib.get_close_matches(str(kind), KINDS, n=1)
        fix = f"did you mean `{near[0]}`?" if near else f"the kinds are: {', '.join(KINDS)}"
        found = f"`{printable(str(kind), 40)}` is no kind" if "kind" in value else "`kind` is missing"
        return Finding(WRONG_KIND, "/kind", found, fix)
    if not (isinstance(version, str) and isinstance(kind, str) and version and kind):
        return Finding(NOT_A_MANIFEST, "", "`apiVersion` and `kind` do not say what this is", _ELSEWHERE)
    ours = kind in KINDS or difflib.SequenceMatcher(None, version, API_VERSION).ratio() > _NEAR
    if ours and not ("." in version.partition("/")[0] and kind not in KINDS):
        found = f"`{printable(version, 40)}` is not a version of ours"
        return Finding(WRONG_VERSION, "/apiVersion", found, f"write `apiVersion: {API_VERSION}`")
    return None


_ELSEWHERE: Final = f"begin with `apiVersion: {API_VERSION}` and `kind: Gateway`, or keep this file outside of the tree"


def _problems(file: str, data: bytes, document: int, findings: list[Finding]) -> Iterator[Problem]:
    for finding in findings:
        where = locate(file, data, document, finding.pointer, key=finding.key)
        if finding.secret:
            where = replace(where, snippet="")
        yield finding.rule.at(where, finding.message, fix=finding.fix)


def _discreet(problems: list[Problem]) -> tuple[Problem, ...]:
    """Return the problems without showing a line on which one of them found a secret."""
    lines = {problem.location.line for problem in problems if problem.code in (SECRET.code, PRIVATE_KEY.code)}
    return tuple(
        replace(problem, location=replace(problem.location, snippet="")) if problem.location.line in lines else problem
        for problem in problems
    )


def _private_key(file: str, data: bytes) -> Problem:
    line = data.count(b"\n", 0, data.index(b"PRIVATE KEY-----")) + 1
    fix = "remove it from git and from its history, make a new one, and refer to it with `clientKeyFrom`"
    return PRIVATE_KEY.at(Location(file, line), "a private key stands here", fix=fix)


def _resolve_paths(manifest: Manifest) -> Iterator[Finding]:
    """Make the file names in `spec` root-relative, and yield those that cannot be."""
    if manifest.kind == "Config":
        return
    directory = posixpath.dirname(manifest.file)
    tls = manifest.spec.get("tls", {})
    for index, name in enumerate(tls.get("caCertificates", ())):
        tls["caCertificates"][index] = resolved = _resolved(directory, name)
        if resolved is None:
            yield _escaping(f"/spec/tls/caCertificates/{index}", name)
    for place, mapping, key in (
        ("/spec/tls/clientCertificate", tls, "clientCertificate"),
        ("/spec/verify/toolsLock", manifest.spec.get("verify", {}), "toolsLock"),
    ):
        if key in mapping:
            name = mapping[key]
            mapping[key] = resolved = _resolved(directory, name)
            if resolved is None:
                yield _escaping(place, name)


def _resolved(directory: str, name: str) -> str | None:
    """Return the root-relative path, or None for one that is absolute, leaves the root or is not a plain path."""
    if name.startswith("/") or "\\" in name or "\0" in name:
        return None
    path = posixpath.normpath(posixpath.join(directory, name))
    return None if path == ".." or path.startswith("../") else path


def _escaping(pointer: str, name: str) -> Finding:
    message = f"`{printable(name, 80)}` is not a path inside of the repository"
    return Finding(LEAVES_ROOT, pointer, message, "give a path relative to this file, with `/`, that stays inside")
