"""YAML bytes -> Manifest or Problems, each with file, line and column.

Below the managed path every document counts. It is ours, or it says clearly that it is somebody else's; everything else
is an error, because a mistyped `apiVersion` must never make a gateway vanish from the desired state.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from urllib.parse import urlsplit

from reconciler.core.hostile import printable
from reconciler.core.problems import Location, Problem, Rule, Severity
from reconciler.core.schema import SECRET, WRONG_TYPE, WRONG_VALUE, Finding
from reconciler.core.snapshot import LEAVES_ROOT
from reconciler.core.strict_yaml import ALIAS, PROBLEM_LIMIT, locate, read_yaml
from reconciler.core.yaml_text import SYNTAX, place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.core.schema import Schemas
    from reconciler.core.strict_yaml import Document

Kind = Literal["Gateway", "Defaults", "Config", "Keyring"]

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
TOO_MANY_PROBLEMS = Rule(
    "too-many-problems", Severity.ERROR, "Past a hundred problems in one file, the first ones are what to look at."
)

API_VERSION: Final = "reconciler/v1"
KINDS: Final = ("Gateway", "Defaults", "Config", "Keyring")
_WITHOUT_FILES: Final = ("Config", "Keyring")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}
_NEAR: Final = 0.7
_SHOWN: Final = 60
_KEY_BEGINS: Final = re.compile(rb"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY-----")


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
    """Read every document of a file. Never raises: whatever is wrong is among the problems.

    `file` is a root-relative POSIX path. Of many problems the first `PROBLEM_LIMIT` are reported.
    """
    read = read_yaml(file, data)
    problems = [*_private_keys(file, data), *read.problems]
    manifests: list[Manifest] = []
    foreign = 0
    for index, document in enumerate(read.documents):
        kind = _kind(document.value)
        if kind is None:
            findings = _misfit(document.value)
            foreign += not findings
        else:
            findings, manifest = _manifest(kind, file, index, document, schemas)
            if manifest is not None:
                manifests.append(manifest)
        if findings and len(problems) <= PROBLEM_LIMIT:
            problems.extend(_problems(file, data, index, findings))
    return ManifestFile(file, tuple(manifests), _presentable(file, problems) if problems else (), foreign)


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as `5s`, `500ms` or `1m`, which the schema has already allowed."""
    number = text.rstrip("ms")
    return float(number) * _UNITS[text[len(number) :]]


def _kind(value: Any) -> Kind | None:  # noqa: ANN401 - any YAML value
    if isinstance(value, dict) and value.get("apiVersion") == API_VERSION and value.get("kind") in KINDS:
        return cast("Kind", value["kind"])
    return None


def _manifest(
    kind: Kind, file: str, index: int, document: Document, schemas: Schemas
) -> tuple[list[Finding], Manifest | None]:
    value = document.value
    if not schemas.accepts(kind, value):
        return schemas.explain(kind, value), None
    metadata, spec = value["metadata"], value["spec"]
    findings = [] if kind in _WITHOUT_FILES else _resolve_paths(file, spec) + _url_findings(spec)
    labels, annotations = metadata.get("labels", {}), metadata.get("annotations", {})
    manifest = Manifest(kind, metadata["name"], spec, file, index, document.line, labels, annotations)
    return findings, None if findings else manifest


def _misfit(value: Any) -> list[Finding]:  # noqa: ANN401 - any YAML value
    """Return why a document that is not ours might have been meant to be; nothing when it is clearly foreign."""
    if not isinstance(value, dict):
        return [Finding(NOT_A_MANIFEST, "", "a manifest is a mapping with `apiVersion` and `kind`", _ELSEWHERE)]
    version, kind = value.get("apiVersion"), value.get("kind")
    if version == API_VERSION:
        near = difflib.get_close_matches(str(kind)[:_SHOWN], KINDS, n=1)
        fix = f"did you mean `{near[0]}`?" if near else f"the kinds are: {', '.join(KINDS)}"
        found = f"`{printable(str(kind), _SHOWN)}` is no kind" if "kind" in value else "`kind` is missing"
        return [Finding(WRONG_KIND, "/kind", found, fix)]
    if not (isinstance(version, str) and isinstance(kind, str) and version and kind):
        return [Finding(NOT_A_MANIFEST, "", "`apiVersion` and `kind` do not say what this is", _ELSEWHERE)]
    mistyped = difflib.SequenceMatcher(None, version[:_SHOWN], API_VERSION).ratio() > _NEAR
    has_domain = "." in version.partition("/")[0]  # as that of the Gateway of Kubernetes
    if mistyped or (kind in KINDS and not has_domain):
        found = f"`{printable(version, _SHOWN)}` is not a version of ours"
        return [Finding(WRONG_VERSION, "/apiVersion", found, f"write `apiVersion: {API_VERSION}`{_NOT_OURS}")]
    return []


_NOT_OURS: Final = "; if this belongs to another tool, keep it outside of the managed tree"
_ELSEWHERE: Final = f"begin with `apiVersion: {API_VERSION}` and `kind: Gateway`, or keep this file outside of the tree"


def _problems(file: str, data: bytes, document: int, findings: list[Finding]) -> Iterator[Problem]:
    for finding in findings:
        where = locate(file, data, document, finding.pointer, key=finding.key)
        if finding.secret:
            where = replace(where, snippet="")
        yield finding.rule.at(where, finding.message, fix=finding.fix)


def _presentable(file: str, problems: list[Problem]) -> tuple[Problem, ...]:
    """Return no more than a person reads, without showing a line on which one of the problems found a secret.

    Beside a private key nothing else is said: whatever another problem quotes could be a part of it. What was refused
    as an alias has no value, and is not judged a second time for that.
    """
    if any(problem.code == PRIVATE_KEY.code for problem in problems):
        problems = [each for each in problems if each.code in (PRIVATE_KEY.code, SYNTAX.code)]
    secret = {problem.location.line for problem in problems if problem.code == SECRET.code}
    refused = {problem.location.line for problem in problems if problem.code == ALIAS.code}
    problems = [each for each in problems if each.code != WRONG_TYPE.code or each.location.line not in refused]
    shown = [_without_snippet(problem) if problem.location.line in secret else problem for problem in problems]
    if len(shown) > PROBLEM_LIMIT:
        message = f"there are more than {PROBLEM_LIMIT} problems in this file; the others are not shown"
        shown[PROBLEM_LIMIT:] = [TOO_MANY_PROBLEMS.at(Location(file), message, fix="mend these first")]
    return tuple(shown)


def _without_snippet(problem: Problem) -> Problem:
    return replace(problem, location=replace(problem.location, snippet=""))


def _private_keys(file: str, data: bytes) -> Iterator[Problem]:
    """Yield the private keys that stand in a file, whatever else it may be."""
    if b"PRIVATE KEY-----" not in data:
        return
    for found in islice(_KEY_BEGINS.finditer(data), PROBLEM_LIMIT + 1):
        line, column = place(data[: found.start()].decode(errors="replace"))
        fix = "remove it from git and from its history, make a new one, and refer to it with `clientKeyFrom`"
        yield PRIVATE_KEY.at(Location(file, line, column), "a private key stands here", fix=fix)


def _resolve_paths(file: str, spec: dict[str, Any]) -> list[Finding]:
    """Make the file names in `spec` root-relative, and return those that cannot be."""
    findings = []
    directory = posixpath.dirname(file)
    for container, key, pointer in _paths(spec):
        name = container[key]
        container[key] = resolved = _resolved(directory, name)
        if resolved is None:
            findings.append(_escaping(pointer, name))
    return findings


def _paths(spec: dict[str, Any]) -> list[tuple[Any, Any, str]]:
    """Return where the file names stand: the list or mapping, the index or key in it, and the JSON Pointer."""
    tls, verify = spec.get("tls", {}), spec.get("verify", {})
    names = tls.get("caCertificates", ())
    places: list[tuple[Any, Any, str]] = [
        (names, index, f"/spec/tls/caCertificates/{index}") for index in range(len(names))
    ]
    if "clientCertificate" in tls:
        places.append((tls, "clientCertificate", "/spec/tls/clientCertificate"))
    if "toolsLock" in verify:
        places.append((verify, "toolsLock", "/spec/verify/toolsLock"))
    return places


def _resolved(directory: str, name: str) -> str | None:
    """Return the root-relative path, or None for one that is absolute, leaves the root or is not a plain path."""
    if "/" not in name and "\\" not in name:
        return f"{directory}/{name}" if directory else name
    if name.startswith("/") or "\\" in name or "\0" in name:
        return None
    path = posixpath.normpath(posixpath.join(directory, name))
    return None if path == ".." or path.startswith("../") else path


def _escaping(pointer: str, name: str) -> Finding:
    message = f"`{printable(name, 80)}` is not a path inside of the repository"
    return Finding(LEAVES_ROOT, pointer, message, "give a path relative to this file, with `/`, that stays inside")


def _url_findings(spec: dict[str, Any]) -> list[Finding]:
    """Return what a pattern cannot tell about a URL: whether its port and its IPv6 address exist."""
    url = spec.get("url", "")
    if url.count(":") <= 1:
        return []
    try:
        usable = urlsplit(url).port != 0
    except ValueError:
        usable = False
    if usable:
        return []
    message = f"`{printable(url, 80)}` has no valid port or IPv6 address"
    return [Finding(WRONG_VALUE, "/spec/url", message, "give a port from 1 to 65535, and an IPv6 address in brackets")]
