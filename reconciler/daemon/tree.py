"""The tree in memory: what was parsed stays parsed, and a change of one file costs the work of one file.

What a file holds decides, never a time stamp. When the files that changed hold the same gateways as before, only those
are assembled anew; whatever else happens (a file appears or goes, `Defaults` change, anything has an error) the whole
tree is assembled, from what is parsed. What is wrong across manifests is always looked for in all of them: at once
where it could be an error, else in `settle`, after the change was told.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.core.problems import has_errors
from reconciler.core.snapshot import Files, Snapshot
from reconciler.errors import InputError
from reconciler.sources.directory import MANIFEST_LIMIT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from reconciler.composition import TreeSource
    from reconciler.core.desired import Material
    from reconciler.core.manifest import Manifest, ManifestFile
    from reconciler.core.model import DesiredState
    from reconciler.core.problems import Problem
    from reconciler.settings import Settings

_MANIFESTS: Final = (".yaml", ".yml")
_NARROW_AT_MOST: Final = 500
"""From here on assembling the whole tree is no dearer than telling its parts apart."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the tree found: the desired state of all of it, for every target.

    `touched` names the gateways that may be others than at the look before; None means any of them.
    """

    desired: DesiredState
    touched: frozenset[str] | None


class _Parsed(NamedTuple):
    data: bytes
    file: ManifestFile


class _Difference(NamedTuple):
    """The manifest files that changed, as they were parsed before, and the files that manifests name and that did.

    `structural` when files came or went, or could not be read.
    """

    before: Mapping[str, _Parsed]
    named: frozenset[str]
    structural: bool


class LiveTree:
    """The tree of some settings, as it was looked at last."""

    def __init__(self, settings: Settings, source: TreeSource) -> None:
        self.settings = settings
        self.source = source
        self._snapshot = Snapshot({})
        self._parsed: dict[str, _Parsed] = {}
        self._ahead: dict[str, _Parsed] = {}
        self._files = Files()
        self._defaults: list[Manifest] = []
        self._assembled: DesiredState | None = None
        self._desired: DesiredState | None = None
        self._holds_until: datetime | None = None
        self._alike: dict[str, list[str]] = {}
        self.provisional = False

    def look(self, names: frozenset[str] | None, now: datetime) -> Look:
        """Read the named files again, or all of them, and return what the tree wants now.

        Raises:
            InputError: the paths of the settings are not there.
        """
        difference = self._reread(names) if names is not None else None
        if difference is None:
            difference = self._reread_all()
        self._ahead.clear()
        desired, assembled, until = self._desired, self._assembled, self._holds_until
        if desired is None or assembled is None or until is None or now >= until or difference.structural:
            return self._compile(now)
        if not difference.before and not difference.named:
            return Look(desired, frozenset())
        return self._compile_some(difference, assembled, now) or self._compile(now)

    def settle(self) -> Look | None:
        """Return the last look with everything that is wrong across manifests, where that was put off."""
        if not self.provisional or self._assembled is None:
            return None
        self.provisional = False
        self._desired = self._judged(self._assembled)
        return Look(self._desired, frozenset())

    def read_ahead(self, names: Collection[str]) -> None:
        """Parse files that changed, while others still do: what they hold now is likely what they will hold."""
        found = self.source.read([name for name in names if name in self._parsed]).data
        self._ahead |= self._parse({name: data for name, data in found.items() if len(data) <= MANIFEST_LIMIT})

    def _reread(self, names: frozenset[str]) -> _Difference | None:
        """Read some files again, or return None where only a look at all of them can tell."""
        if self._desired is None or len(names) > _NARROW_AT_MOST:
            return None
        manifests = sorted(name for name in names if name.endswith(_MANIFESTS))
        named = sorted(names.difference(manifests))
        if any(name not in self._parsed for name in manifests) or any(name not in self._files.data for name in named):
            return None
        files: dict[str, bytes] = {}
        for name in manifests:
            found = self._read(name)
            if found.problems or name not in found.files:
                return None
            files[name] = found.files[name]
        read = self.source.read(named)
        if read.failures:
            return None
        self._snapshot = replace(self._snapshot, files={**self._snapshot.files, **files})
        return self._difference(files, read, structural=False)

    def _read(self, name: str) -> Snapshot:
        try:
            return self.source.scan([name], whole=False)
        except InputError:
            return Snapshot({})

    def _reread_all(self) -> _Difference:
        before, self._snapshot = self._snapshot, self.source.scan(self.settings.paths, whole=self.settings.whole)
        structural = (
            before.files.keys() != self._snapshot.files.keys()
            or before.pem_files != self._snapshot.pem_files
            or before.lock_files != self._snapshot.lock_files
            or bool(before.problems or self._snapshot.problems)
        )
        for gone in self._parsed.keys() - self._snapshot.files.keys():
            del self._parsed[gone]
        return self._difference(self._snapshot.files, self.source.read(self._files.data), structural=structural)

    def _difference(self, files: Mapping[str, bytes], read: Files, *, structural: bool) -> _Difference:
        changed = {
            name: data for name, data in files.items() if name not in self._parsed or self._parsed[name].data != data
        }
        before = {name: self._parsed[name] for name in changed if name in self._parsed}
        self._parsed.update(self._parse(changed))
        certificates = {name: data for name, data in read.data.items() if self._files.data[name] != data}
        lost = bool(read.failures or self._files.failures)
        self._files = Files({**self._files.data, **certificates}, self._files.failures)
        return _Difference(before, frozenset(certificates), structural or lost or len(before) != len(changed))

    def _parse(self, files: Mapping[str, bytes]) -> dict[str, _Parsed]:
        from reconciler.core.manifest import read_manifests
        from reconciler.parallel import spread
        from reconciler.schema_files import load_schemas

        schemas = load_schemas()
        ahead = {name: done for name in files if (done := self._ahead.get(name)) and done.data == files[name]}
        items = [(name, data) for name, data in files.items() if name not in ahead]
        read = spread(lambda item: read_manifests(*item, schemas), items)
        return ahead | {name: _Parsed(data, file) for (name, data), file in zip(items, read, strict=True)}

    def _compile(self, now: datetime) -> Look:
        """Assemble the whole tree."""
        from reconciler.cache import holds_until
        from reconciler.core.desired import assemble

        days = self.settings.expiry_warning_days
        before, manifests = self._desired, self._manifests()
        self._desired = None  # until this has come to its end
        self._defaults = [manifest for manifest in manifests if manifest.kind == "Defaults"]
        self._files = self.source.read(self._named_by(manifests))
        material = self._material(manifests, self._problems())
        self._assembled = assemble(material, now, expiry_warning_days=days)
        self._holds_until = holds_until(self._assembled, now, days)
        self._desired = self._judged(self._assembled)
        self.provisional = False
        self._alike = _alike(self._assembled.gateways)
        return Look(self._desired, _differing(before, self._desired))

    def _compile_some(self, difference: _Difference, known: DesiredState, now: datetime) -> Look | None:
        """Assemble the gateways of the files that changed, or return None where that does not tell everything."""
        from reconciler.cache import holds_until
        from reconciler.core.desired import assemble

        affected = self._affected(difference) if not has_errors(known.problems) else None
        if affected is None or len(affected) > _NARROW_AT_MOST or not self._read_named_by(affected):
            return None
        days = self.settings.expiry_warning_days
        some = assemble(self._material([*self._defaults, *affected]), now, expiry_warning_days=days)
        if has_errors(some.problems) or len(some.gateways) != len(affected):
            return None
        stale = {*difference.named, *(manifest.file for manifest in affected)}
        before, self._assembled = self._desired, _merged(known, some, stale)
        self._holds_until = min(self._holds_until or now, holds_until(some, now, days))
        self.provisional = before is not None and self._speaks_for_itself(some, affected)
        told = before.problems if before is not None and self.provisional else ()
        self._desired = replace(self._assembled, problems=told) if self.provisional else self._judged(self._assembled)
        return Look(self._desired, frozenset(some.gateways))

    def _speaks_for_itself(self, some: DesiredState, manifests: Sequence[Manifest]) -> bool:
        """Return whether no rule across manifests can make an error of what changed.

        Such errors are about one gateway, or about two whose names the platform makes one; as long as nobody raised
        the level of a rule, every other rule across manifests warns at the most, and can be looked at afterwards.
        """
        from reconciler.core.contextforge_platform import slug
        from reconciler.core.levels import Levels
        from reconciler.reading import judged_across
        from reconciler.settings import scopes

        if self.settings.levels != Levels() or self._assembled is None:
            return False
        names = {alike for name in some.gateways for alike in self._alike.get(slug(name), ())}
        gateways = {name: self._assembled.gateways[name] for name in sorted(names)}
        near = replace(self._assembled, gateways=gateways, problems=(), complete=False)
        judged = judged_across(near, self._material(manifests), scopes(self.settings), every_target=False)
        return not has_errors(judged.problems)

    def _named_by(self, manifests: Sequence[Manifest]) -> list[str]:
        from reconciler.core.desired import referenced_files
        from reconciler.core.reviewed_tools import referenced_locks

        return [*referenced_files(manifests), *referenced_locks(manifests, self._snapshot.lock_files)]

    def _read_named_by(self, manifests: Sequence[Manifest]) -> bool:
        """Read the files that manifests name and no other one did; return whether all of them could be read."""
        new = [name for name in self._named_by(manifests) if name not in self._files.data]
        read = self.source.read(new)
        self._files = Files({**self._files.data, **read.data}, self._files.failures)
        return not read.failures

    def _affected(self, difference: _Difference) -> list[Manifest] | None:
        """Return the gateways of the files that changed, or None where it is not the same ones as before."""
        affected: dict[str, Manifest] = {}
        for name, before in difference.before.items():
            file = self._parsed[name].file
            if file.problems or _gateways(file) is None or _gateways(file) != _gateways(before.file):
                return None
            affected.update((manifest.name, manifest) for manifest in file.manifests)
        if difference.named:
            affected.update((manifest.name, manifest) for manifest in self._users(difference.named))
        return list(affected.values())

    def _users(self, names: frozenset[str]) -> Iterator[Manifest]:
        """Yield the gateways that use one of these files, be it through `Defaults`."""
        from reconciler.core.inheritance import Defaults, merge

        manifests = self._manifests()
        defaults = Defaults(manifests, self._snapshot.files)
        for manifest in manifests:
            if manifest.kind == "Gateway":
                inherited = defaults.spec(manifest.file.rpartition("/")[0])
                whole = replace(manifest, spec=merge(inherited, manifest.spec)) if inherited else manifest
                if not names.isdisjoint(self._named_by([whole])):
                    yield manifest

    def _manifests(self) -> list[Manifest]:
        return [manifest for name in self._snapshot.files for manifest in self._parsed[name].file.manifests]

    def _problems(self) -> list[Problem]:
        found = (problem for name in self._snapshot.files for problem in self._parsed[name].file.problems)
        return [*self._snapshot.problems, *found]

    def _material(self, manifests: Sequence[Manifest], problems: Sequence[Problem] = ()) -> Material:
        from reconciler.core.desired import Material

        texts, pem_files = self._snapshot.files, sorted(self._snapshot.pem_files)
        locks, whole = self._snapshot.lock_files, self._snapshot.whole
        return Material(manifests, texts, self._files, pem_files, problems, whole, locks)

    def _judged(self, assembled: DesiredState) -> DesiredState:
        from reconciler.reading import judged_across
        from reconciler.settings import scopes

        every_target = not self.settings.other_targets
        material = self._material(self._manifests())
        return judged_across(assembled, material, scopes(self.settings), every_target=every_target)


def _alike(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the names by what ContextForge makes of them."""
    from reconciler.core.contextforge_platform import slug

    alike: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[slug(name)].append(name)
    return dict(alike)


def _gateways(file: ManifestFile) -> tuple[str, ...] | None:
    """Return the names of the gateways in a file, or None when it holds anything else, or one of them twice."""
    names = tuple(manifest.name for manifest in file.manifests if manifest.kind == "Gateway")
    return names if len(set(names)) == len(file.manifests) else None


def _merged(known: DesiredState, some: DesiredState, stale: set[str]) -> DesiredState:
    """Return what is known, with the part that was assembled anew. Problems of the files in `stale` are replaced."""
    gateways = {**known.gateways, **some.gateways}
    used = {wanted.gateway.ca_certificate for wanted in gateways.values()}
    bundles = {text: bundle for text, bundle in {**known.bundles, **some.bundles}.items() if text in used}
    kept = [problem for problem in known.problems if problem.location.file not in stale]
    told = {problem.location.file for problem in kept}
    new = [problem for problem in some.problems if problem.location.file not in told]
    clients = tuple(dict.fromkeys((*known.clients, *some.clients)))
    return replace(known, gateways=gateways, bundles=bundles, problems=(*kept, *new), clients=clients)


def _differing(before: DesiredState | None, after: DesiredState) -> frozenset[str] | None:
    """Return the names of the gateways that are new or others; None when some are gone, or nothing is known."""
    if before is None or before.gateways.keys() - after.gateways.keys():
        return None
    return frozenset(name for name, wanted in after.gateways.items() if before.gateways.get(name) != wanted)
