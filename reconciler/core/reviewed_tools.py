"""What a manifest asks of verification, and which tools lock belongs to it.

A lock is read once, however many gateways are compared with it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from reconciler.core.manifest import parse_duration
from reconciler.core.model import ToolsLock, VerifyPolicy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from reconciler.core.inheritance import Spec
    from reconciler.core.manifest import Manifest
    from reconciler.core.problems import Problem
    from reconciler.core.snapshot import Files

SUFFIX: Final = ".tools.json"

_DEFAULT_VERIFY: Final = VerifyPolicy()


def default_file(manifest: str, name: str) -> str:
    """Return where the lock of a gateway is looked for when its manifest names none: beside it, under its name."""
    directory = manifest.rpartition("/")[0]
    return f"{directory}/{name}{SUFFIX}" if directory else f"{name}{SUFFIX}"


def lock_file(manifest: Manifest, spec: Spec, lock_files: Collection[str]) -> str:
    """Return the lock that a gateway is compared with: what it names, or the one beside it; empty for none."""
    named: str | None = spec.get("verify", {}).get("toolsLock")
    if named is not None:
        return named
    beside = default_file(manifest.file, manifest.name)
    return beside if beside in lock_files else ""


def referenced_locks(manifests: Iterable[Manifest], lock_files: Collection[str]) -> list[str]:
    """Return the root-relative paths of every lock that the manifests name or that lies beside one, once each."""
    found = {
        lock_file(manifest, manifest.spec, lock_files if manifest.kind == "Gateway" else ()) for manifest in manifests
    }
    return sorted(found - {""})


class ReviewedTools:
    """The locks of a tree."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._read: dict[str, tuple[ToolsLock, tuple[Problem, ...]]] = {}
        self._users: defaultdict[str, list[str]] = defaultdict(list)

    def of(self, file: str, user: str) -> ToolsLock:
        """Return the lock in a file for the gateway `user`; one that could not be had says nothing of any tool."""
        self._users[file].append(user)
        if file not in self._files.data:
            return ToolsLock(file, None)
        if file not in self._read:
            from reconciler.core.toollock import read_lock

            self._read[file] = read_lock(file, self._files.data[file])
        return self._read[file][0]

    def problems(self) -> list[Problem]:
        """Return what is wrong with the locks, each problem naming the gateways it is about."""
        return [
            replace(problem, gateways=tuple(sorted(self._users[file])))
            for file, (_, problems) in self._read.items()
            for problem in problems
        ]


def verify_policy(spec: Spec, tools_lock: ToolsLock | None) -> VerifyPolicy:
    """Return what the `verify` of a spec asks for, with the lock that goes with it."""
    if not spec and tools_lock is None:
        return _DEFAULT_VERIFY
    timeout = spec.get("timeout")
    return VerifyPolicy(
        mode=spec.get("mode", "report"),
        timeout_seconds=parse_duration(timeout) if timeout else _DEFAULT_VERIFY.timeout_seconds,
        require_tools=tuple(sorted(set(spec.get("requireTools", ())))),
        tools_lock=tools_lock,
        on_tools_change=spec.get("onToolsChange", "report"),
    )
