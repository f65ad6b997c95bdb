"""The manifests of a tree, for questions about single gateways: where their values come from.

A gateway whose manifest has errors is explained as far as its values go; what keeps it from being applied comes along.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Final

from reconciler.core.fields import Fields
from reconciler.core.inheritance import Defaults
from reconciler.core.manifest import read_manifests
from reconciler.core.problems import Severity
from reconciler.core.provenance import ExplainedGateway, Written, as_written, explain_values
from reconciler.core.snapshot import Snapshot
from reconciler.parallel import spread
from reconciler.reading import compile_tree
from reconciler.schema_files import load_schemas
from reconciler.settings import covers
from reconciler.sources.directory import Directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from reconciler.core.manifest import Manifest
    from reconciler.core.model import DesiredState
    from reconciler.core.problems import Problem
    from reconciler.settings import Settings

_PRUNE: Final = "reconciler/prune"


class Gateways:
    """The gateways of a tree by name, read once and compiled as far as a question goes.

    Raises:
        InputError: a path does not exist.
    """

    def __init__(self, settings: Settings) -> None:
        schemas = load_schemas()
        self._settings = settings
        self._source = Directory(settings.root)
        self._snapshot = self._source.scan(settings.paths, whole=settings.whole)
        read = spread(lambda file: read_manifests(*file, schemas), list(self._snapshot.files.items()))
        self._manifests = [manifest for file in read for manifest in file.manifests]
        self._problems = [problem for file in read for problem in file.problems]
        self._gateways: dict[str, Manifest] = {}
        for manifest in self._manifests:
            if manifest.kind == "Gateway":
                self._gateways.setdefault(manifest.name, manifest)

    @property
    def names(self) -> Sequence[str]:
        """The names of the gateways without errors in their manifests, sorted."""
        return sorted(self._gateways)

    @property
    def faulty_files(self) -> Sequence[str]:
        """The files that have errors, sorted: what stands in them need not be known."""
        problems = (*self._snapshot.problems, *self._problems)
        return sorted({each.location.file for each in problems if each.severity is Severity.ERROR})

    def explain(self, name: str, now: datetime) -> ExplainedGateway | None:
        """Return where the values of a gateway come from, or None if there is none of this name."""
        manifest = self._gateways.get(name) or self._broken(name)
        if manifest is None:
            return None
        desired = self._compiled(manifest, now)
        wanted = desired.gateways.get(name)
        bundle = desired.bundles.get(wanted.gateway.ca_certificate) if wanted else None
        written = Written(Defaults(self._manifests, self._snapshot.files), self._snapshot.files, self._problems)
        (spec,) = Fields(load_schemas().texts).find("Gateway.spec")
        return ExplainedGateway(
            name=name,
            file=manifest.file,
            line=manifest.line,
            values=explain_values(manifest, written, spec),
            labels=tuple(sorted(manifest.labels.items())),
            protected=manifest.annotations.get(_PRUNE) == "disabled",
            targets=self._takers(manifest) if name in self._gateways else None,
            certificates=bundle.certificates if bundle else (),
            problems=tuple(each for each in desired.problems if _concerns(each, name)),
        )

    def _broken(self, name: str) -> Manifest | None:
        """Return a gateway whose manifest has errors, as it is written."""
        for file in dict.fromkeys(problem.location.file for problem in self._problems):
            manifest = as_written(name, file, self._snapshot.files[file])
            if manifest is not None:
                return manifest
        return None

    def _takers(self, manifest: Manifest) -> tuple[str, ...] | None:
        """Return the targets that a gateway belongs in, by its place and its labels."""
        if self._settings.config is None:
            return None
        return tuple(
            target.name
            for target in (*self._settings.targets, *self._settings.other_targets)
            if covers((target.path,), manifest.file) and dict(target.selector).items() <= manifest.labels.items()
        )

    def _compiled(self, manifest: Manifest, now: datetime) -> DesiredState:
        """Return what the gateway's own file and the Defaults above it want, with every problem of theirs.

        Files that claim its name as well come along.
        """
        directories = set(_upwards(manifest.file))
        wanted = {manifest.file, *(posixpath.join(directory, "defaults.yaml") for directory in directories)}
        wanted.update(
            each.file
            for each in self._manifests
            if (each.kind == "Defaults" and posixpath.dirname(each.file) in directories)
            or (each.kind == "Gateway" and each.name == manifest.name)
        )
        part = Snapshot(
            files={file: data for file, data in self._snapshot.files.items() if file in wanted},
            pem_files=self._snapshot.pem_files,
            lock_files=self._snapshot.lock_files,
            problems=tuple(each for each in self._snapshot.problems if each.location.file in wanted),
            whole=False,
        )
        days = self._settings.expiry_warning_days
        return compile_tree(part, self._source, load_schemas(), now, expiry_warning_days=days).desired


def _upwards(file: str) -> Iterator[str]:
    """Yield the directory of a file and all above it."""
    directory = posixpath.dirname(file)
    yield directory
    while directory:
        directory = posixpath.dirname(directory)
        yield directory


def _concerns(problem: Problem, name: str) -> bool:
    return problem.severity is Severity.ERROR and (not problem.gateways or name in problem.gateways)
