"""The first half of a pass: a snapshot of manifests becomes the desired state, with every problem of every file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from reconciler.core.desired import Material, assemble, referenced_files
from reconciler.core.lint import Across, lint
from reconciler.core.manifest import read_manifests
from reconciler.core.problems import in_order
from reconciler.core.reviewed_tools import referenced_locks
from reconciler.core.strict_yaml import locate
from reconciler.parallel import spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from reconciler.core.lint import TargetScope
    from reconciler.core.manifest import Manifest
    from reconciler.core.model import DesiredState
    from reconciler.core.problems import Problem
    from reconciler.core.schema import Schemas
    from reconciler.core.snapshot import Files, Snapshot


class Source(Protocol):
    """Hands over the files that manifests refer to."""

    def read(self, names: Iterable[str]) -> Files:
        """Return the bytes of the named files, and why others could not be had."""
        ...


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a snapshot wants, with every problem of every file, and the bytes of the files its manifests name."""

    desired: DesiredState
    named: Mapping[str, bytes]


def compile_tree(
    snapshot: Snapshot,
    source: Source,
    schemas: Schemas,
    now: datetime,
    *,
    expiry_warning_days: int = 30,
    targets: Sequence[TargetScope] = (),
    every_target: bool = True,
) -> Compiled:
    """Return what the snapshot wants. Every file is read once and every problem is found in one go.

    `targets` are those of the config file; `every_target` says whether the snapshot covers them all.
    """
    read = spread(lambda file: read_manifests(*file, schemas), list(snapshot.files.items()))
    manifests = [manifest for file in read for manifest in file.manifests]
    files = source.read([*referenced_files(manifests), *referenced_locks(manifests, snapshot.lock_files)])
    material = Material(
        manifests=manifests,
        texts=snapshot.files,
        files=files,
        pem_files=sorted(snapshot.pem_files),
        lock_files=snapshot.lock_files,
        problems=[*snapshot.problems, *(problem for file in read for problem in file.problems)],
        whole=snapshot.whole,
    )
    desired = assemble(material, now, expiry_warning_days=expiry_warning_days)
    return Compiled(judged_across(desired, material, targets, every_target=every_target), files.data)


def judged_across(
    desired: DesiredState, material: Material, targets: Sequence[TargetScope], *, every_target: bool
) -> DesiredState:
    """Return the desired state with what is wrong across its manifests."""
    whole = desired.complete and every_target
    pem_files = frozenset(material.pem_files)
    across = Across(
        desired.gateways, desired.bundles, material.manifests, pem_files, whole, targets, material.lock_files
    )
    found = _placed(lint(across), material.manifests, material.texts)
    return replace(desired, problems=in_order((*desired.problems, *found)))


def _placed(
    problems: Iterable[Problem], manifests: Sequence[Manifest], texts: Mapping[str, bytes]
) -> Iterator[Problem]:
    """Yield the problems, those about a field of a manifest at its place, or at the nearest parent that is there."""
    documents: dict[tuple[str, int], int] = {}
    for problem in problems:
        where = problem.location
        if not documents:
            documents = {(manifest.file, manifest.line): manifest.document for manifest in manifests}
        document = documents.get((where.file, where.line))
        if where.pointer and not where.snippet and document is not None:
            where = locate(where.file, texts[where.file], document, where.pointer)
        yield replace(problem, location=where)
