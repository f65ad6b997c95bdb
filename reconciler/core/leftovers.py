"""What stands in a tree and does nothing: PEM files that no manifest names, and Defaults that decide no value.

Only a whole tree without errors can tell; what nobody uses here may be used by what was not read.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.problems import Location, Problem, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from reconciler.core.inheritance import Spec
    from reconciler.core.manifest import Manifest
    from reconciler.core.model import DesiredGateway

UNREFERENCED_PEM = Rule(
    "unreferenced-pem",
    Severity.WARNING,
    "A PEM file that no manifest names protects nothing: it was left over here, or forgotten there.",
)
UNUSED_LOCK = Rule(
    "unused-tools-lock",
    Severity.WARNING,
    "A tools lock that belongs to no gateway is compared with nothing, and guards no tools.",
)
UNUSED_DEFAULTS = Rule(
    "defaults-unused", Severity.WARNING, "Defaults that decide nothing mislead whoever reads or changes them."
)

_SHOWN: Final = 5

Pointer = tuple[str, ...]


def check_leftovers(manifests: Sequence[Manifest], pem_files: Collection[str]) -> Iterator[Problem]:
    """Yield what the manifests of a whole tree make no use of."""
    yield from _unreferenced(manifests, pem_files)
    yield from _unused_defaults(manifests)


def check_locks(gateways: Iterable[DesiredGateway], lock_files: Collection[str]) -> Iterator[Problem]:
    """Yield the tools locks of a whole tree that no gateway is compared with."""
    used = {each.verify.tools_lock.file for each in gateways if each.verify.tools_lock is not None}
    for name in sorted(set(lock_files) - used):
        fix = "name it after the gateway beside it, name it under `verify.toolsLock` of a manifest, or remove it"
        yield UNUSED_LOCK.at(Location(name), "no gateway is compared with this tools lock", fix=fix)


def _unreferenced(manifests: Sequence[Manifest], pem_files: Collection[str]) -> Iterator[Problem]:
    from reconciler.core.desired import referenced_files

    for name in sorted(set(pem_files).difference(referenced_files(manifests))):
        fix = "name it under `tls` of the manifest that it is for, or remove it"
        yield UNREFERENCED_PEM.at(Location(name), "no manifest names this file", fix=fix)


def _unused_defaults(manifests: Sequence[Manifest]) -> Iterator[Problem]:
    own = {_directory(each.file): each for each in manifests if each.kind == "Defaults"}
    if not own:
        return
    specs: defaultdict[str, list[Spec]] = defaultdict(list)
    for each in manifests:
        if each.kind == "Gateway":
            specs[_directory(each.file)].append(each.spec)
    deciders = _Deciders({directory: values(each.spec) for directory, each in own.items()})
    used = _used(specs, deciders)
    above_some = {above for directory in specs for above in deciders.at(directory)}
    for directory, defaults in own.items():
        if directory not in used:
            message, fix = _why_unused(values(defaults.spec), populated=directory in above_some)
            yield UNUSED_DEFAULTS.at(Location(defaults.file, defaults.line), message, fix=fix)


def _used(specs: Mapping[str, Sequence[Spec]], deciders: _Deciders) -> set[str]:
    """Return the directories whose Defaults decide a value of some gateway; `specs` are theirs by directory."""
    from reconciler.core.inheritance import has

    used: set[str] = set()
    for directory, below in specs.items():
        for above, pointers in deciders.at(directory).items():
            if above not in used and not all(has(spec, pointer) for spec in below for pointer in pointers):
                used.add(above)
    return used


def _why_unused(pointers: Sequence[Pointer], *, populated: bool) -> tuple[str, str]:
    if not pointers:
        return "these Defaults set nothing", "set something, or remove them"
    if not populated:
        return "no gateway stands here or below", "remove them, or move them to the gateways that they are for"
    names = [".".join(pointer) for pointer in pointers]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    shown = f"{', '.join(names[:_SHOWN])}{more}"
    return f"all that is set here ({shown}) is set again by or nearer to each gateway below", "keep one of the two"


class _Deciders:
    """Whose Defaults decide which values of a gateway that says nothing itself. Each directory is worked out once."""

    def __init__(self, own: Mapping[str, tuple[Pointer, ...]]) -> None:
        self._own = own
        self._known: dict[str, dict[str, tuple[Pointer, ...]]] = {"": self._over({}, "")}

    def at(self, directory: str) -> dict[str, tuple[Pointer, ...]]:
        """Return, by directory, the values that its Defaults decide for a gateway in `directory`."""
        climbed = []
        while directory not in self._known:
            climbed.append(directory)
            directory = _directory(directory)
        found = self._known[directory]
        for each in reversed(climbed):
            self._known[each] = found = self._over(found, each)
        return found

    def _over(self, above: dict[str, tuple[Pointer, ...]], directory: str) -> dict[str, tuple[Pointer, ...]]:
        own = self._own.get(directory)
        if own is None:
            return above
        left = {each: tuple(pointer for pointer in pointers if pointer not in own) for each, pointers in above.items()}
        return {**left, directory: own}


def values(spec: Mapping[str, Any], place: Pointer = ()) -> tuple[Pointer, ...]:
    """Return where the values of a spec stand that are inherited as wholes; `auth` is one of them."""
    found: list[Pointer] = []
    for key, value in spec.items():
        if isinstance(value, dict) and key != "auth":
            found.extend(values(value, (*place, key)))
        else:
            found.append((*place, key))
    return tuple(found)


def _directory(file: str) -> str:
    return file.rpartition("/")[0]
