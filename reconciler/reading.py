"""The first half of a pass: a snapshot of manifests becomes the desired state, with every problem of every file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from reconciler.core.desired import Material, assemble, referenced_files
from reconciler.core.lint import lint
from reconciler.core.manifest import read_manifests
from reconciler.core.problems import in_order
from reconciler.parallel import spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from reconciler.core.model import DesiredState
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
    snapshot: Snapshot, source: Source, schemas: Schemas, now: datetime, *, expiry_warning_days: int = 30
) -> Compiled:
    """Return what the snapshot wants. Every file is read once and every problem is found in one go."""
    read = spread(lambda file: read_manifests(*file, schemas), list(snapshot.files.items()))
    manifests = [manifest for file in read for manifest in file.manifests]
    files = source.read(referenced_files(manifests))
    material = Material(
        manifests=manifests,
        texts=snapshot.files,
        files=files,
        pem_files=sorted(snapshot.pem_files),
        problems=[*snapshot.problems, *(problem for file in read for problem in file.problems)],
        whole=snapshot.whole,
    )
    desired = assemble(material, now, expiry_warning_days=expiry_warning_days)
    problems = in_order((*desired.problems, *lint(desired.gateways, desired.bundles)))
    return Compiled(replace(desired, problems=problems), files.data)
