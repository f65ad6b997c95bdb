"""Where a gateway's values come from: its manifest, a Defaults above it, or nobody, and then the schema's default.

The values are those of `reconciler.core.inheritance`; nothing is decided here, and references to secrets stay
references. What a problem points at is left out: it could be a secret that should not stand there.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from reconciler.core.inheritance import merge
from reconciler.core.manifest import API_VERSION, TOO_MANY_PROBLEMS, Manifest
from reconciler.core.schema import MISSING
from reconciler.core.strict_yaml import escape, locate, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconciler.core.fields import Field
    from reconciler.core.inheritance import Defaults, Spec
    from reconciler.core.model import Certificate
    from reconciler.core.problems import Problem

Pointer = tuple[str | int, ...]
Source = Literal["manifest", "defaults", "default"]


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and the place that sets it: root-relative file and line (from 1), empty and 0 for a default."""

    value: object
    source: Source
    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Explained:
    """One value of a gateway: the setting that holds, and those it overrides, the nearest first.

    `path` is dotted, with `[0]` for an item: `spec.auth.headers[0].name`.
    """

    path: str
    setting: Setting
    overrides: tuple[Setting, ...] = ()


@dataclass(frozen=True, slots=True)
class ExplainedGateway:
    """Everything there is to say about where a gateway comes from.

    `certificates` are those of its CA bundle, in bundle order; none where it could not be built. `targets` names those
    that take it, and is None where no config file says so. `problems` are the errors that keep it from being applied.
    """

    name: str
    file: str
    line: int
    values: tuple[Explained, ...]
    labels: tuple[tuple[str, str], ...] = ()
    protected: bool = False
    targets: tuple[str, ...] | None = None
    certificates: tuple[Certificate, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """The manifests of a tree, the files they came from by name, and what is wrong with those."""

    defaults: Defaults
    texts: Mapping[str, bytes]
    problems: Sequence[Problem] = ()


def explain_values(manifest: Manifest, written: Written, spec: Field) -> tuple[Explained, ...]:
    """Return every value of a gateway's spec in the schema's order, those that nobody sets and have a default too.

    `spec` is the field `spec` of a Gateway.
    """
    merged = merge(written.defaults.spec(posixpath.dirname(manifest.file)), manifest.spec)
    pointers = [pointer for pointer, _ in _leaves(merged)]
    layers = [_Layer("manifest", manifest, written)]
    layers += [_Layer("defaults", each, written) for each in _above(manifest, written.defaults)]
    settings = [layer.settings(pointers) for layer in layers]
    found = {pointer: _explained(pointer, settings) for pointer in pointers}
    for pointer, value in _unsaid(merged, spec):
        found[pointer] = Explained(dotted(pointer), Setting(value, "default"))
    order = {each.path: rank for rank, each in enumerate(spec.walk())}
    ranked = sorted(found, key=lambda pointer: order.get(dotted(_keys(pointer)), len(order)))
    return tuple(each for pointer in ranked if (each := found[pointer]) is not None)


def dotted(pointer: Pointer) -> str:
    """Return the path of a pointer below `spec`."""
    return "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in pointer)


def as_written(name: str, file: str, data: bytes) -> Manifest | None:
    """Return the gateway of this name from a file with problems, nothing checked or resolved, if it is there."""
    for index, document in enumerate(read_yaml(file, data).documents):
        value = document.value
        if not isinstance(value, dict) or value.get("apiVersion") != API_VERSION or value.get("kind") != "Gateway":
            continue
        metadata, spec = value.get("metadata"), value.get("spec")
        if isinstance(metadata, dict) and metadata.get("name") == name:
            return Manifest("Gateway", name, spec if isinstance(spec, dict) else {}, file, index, document.line)
    return None


class _Layer:
    """A document that sets values: the manifest, or one of the Defaults above it."""

    def __init__(self, source: Source, manifest: Manifest, written: Written) -> None:
        self._source = source
        self._manifest = manifest
        self._data = written.texts[manifest.file]
        self._withheld = self._pointed_at(written.problems)

    def settings(self, pointers: Iterable[Pointer]) -> dict[Pointer, Setting | None]:
        """Return what this document sets of `pointers`; None stands for a value that is not to be repeated."""
        return {
            pointer: None if self._withholds(pointer) else self._setting(pointer)
            for pointer in pointers
            if _reaches(self._manifest.spec, pointer)
        }

    def _setting(self, pointer: Pointer) -> Setting:
        line = self._line(self._manifest.document, _json_pointer(pointer))
        return Setting(_at(self._manifest.spec, pointer), self._source, self._manifest.file, line)

    def _withholds(self, pointer: Pointer) -> bool:
        """Return whether a problem points at this value, into it, or at what it is in."""
        here = _json_pointer(pointer) + "/"
        return any(here.startswith(place) or place.startswith(here) for place in self._withheld)

    def _pointed_at(self, problems: Iterable[Problem]) -> frozenset[str]:
        """Return where the problems of this document are, as JSON Pointers with a final `/`; without one it is `/spec`.

        That a field is missing says nothing against the others. `auth` is one thing, and has problems as one.
        """
        begin = self._manifest.line
        after = self._line(self._manifest.document + 1, "")
        end = after if after > begin else len(self._data) + 1
        places = {
            problem.location.pointer or "/spec"
            for problem in problems
            if problem.location.file == self._manifest.file
            and (begin <= problem.location.line < end or problem.code == TOO_MANY_PROBLEMS.code)
            and (problem.code, problem.location.pointer) != (MISSING.code, "/spec")
        }
        return frozenset("/spec/auth/" if place.startswith("/spec/auth") else f"{place}/" for place in places)

    def _line(self, document: int, pointer: str) -> int:
        return locate(self._manifest.file, self._data, document, pointer, key=True).line


def _above(manifest: Manifest, defaults: Defaults) -> Iterator[Manifest]:
    """Yield the Defaults that apply to a manifest, the nearest first."""
    directory = posixpath.dirname(manifest.file)
    while (found := defaults.origin(directory, ())) is not None:
        yield found
        directory = posixpath.dirname(found.file)
        if not directory:
            return
        directory = posixpath.dirname(directory)


def _explained(pointer: Pointer, layers: Iterable[Mapping[Pointer, Setting | None]]) -> Explained | None:
    setting, *others = [layer[pointer] for layer in layers if pointer in layer]
    if setting is None:
        return None
    overridden = () if pointer != _keys(pointer) else tuple(each for each in others if each is not None)
    return Explained(dotted(pointer), setting, overridden)


def _leaves(value: object, pointer: Pointer = ()) -> Iterator[tuple[Pointer, object]]:
    """Yield the values in a spec that are shown as one: scalars, and lists of nothing else."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*pointer, key))
    elif isinstance(value, list) and any(isinstance(each, (dict, list)) for each in value):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*pointer, index))
    else:
        yield pointer, value


def _unsaid(merged: Spec, spec: Field) -> Iterator[tuple[Pointer, object]]:
    """Yield the defaults that hold because nobody says anything else."""
    for field in spec.walk():
        pointer = tuple(field.path.split(".")[1:])
        if field.default is not None and not _is_said(merged, pointer):
            yield pointer, field.default
    if "auth" not in merged:
        yield ("auth", "type"), "none"  # which no schema can say: without `auth` there is no `type` either


def _is_said(spec: object, pointer: tuple[str, ...]) -> bool:
    """Return whether a spec sets the value at `pointer`, or something else in place of what it would be in."""
    for part in pointer:
        if not isinstance(spec, dict):
            return True
        if part not in spec:
            return False
        spec = spec[part]
    return True


def _keys(pointer: Pointer) -> tuple[str, ...]:
    """Return a pointer up to the first list in it: what is merged key by key."""
    keys = []
    for part in pointer:
        if isinstance(part, int):
            break
        keys.append(part)
    return tuple(keys)


def _json_pointer(pointer: Pointer) -> str:
    return "/spec" + "".join(f"/{escape(str(part))}" for part in pointer)


def _reaches(spec: Any, pointer: Pointer) -> bool:  # noqa: ANN401 - any YAML value
    for part in pointer:
        if isinstance(part, int):
            if not isinstance(spec, list) or part >= len(spec):
                return False
        elif not isinstance(spec, dict) or part not in spec:
            return False
        spec = spec[part]
    return True


def _at(spec: Any, pointer: Pointer) -> object:  # noqa: ANN401 - any YAML value
    for part in pointer:
        spec = spec[part]
    return spec
