"""Puts the rooms together: settings, tree, keys, store and probes become an engine.

The environment comes in as an argument; commands, the demo and embedding programs all build their engine here.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from reconciler.clock import now
from reconciler.core.problems import ProblemsError, has_errors
from reconciler.errors import InputError
from reconciler.settings import covers, scopes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from reconciler.cache import TreeCache
    from reconciler.core.model import Audit, DesiredGateway, DesiredState
    from reconciler.core.planning import Plan
    from reconciler.core.ports import Signer
    from reconciler.core.signing import Keyring
    from reconciler.core.snapshot import Files, Snapshot
    from reconciler.engine import Engine
    from reconciler.reading import Compiled
    from reconciler.reports.validation import Validation
    from reconciler.settings import Settings, Target
    from reconciler.stores.access import Access


class TreeSource(Protocol):
    """Where a tree is read from: a directory, or a revision of it."""

    def scan(self, paths: Iterable[str], *, whole: bool = True) -> Snapshot:
        """Return the manifests below `paths`."""
        ...

    def read(self, names: Iterable[str]) -> Files:
        """Return the bytes of the named files, and why others could not be had."""
        ...


class Tree:
    """The manifests of a run: scanned once, compiled when that is needed. git is asked for the revision meanwhile.

    The problems that it tells of are at the levels that the config file gives them. A `source` that is no directory
    comes with the `revision` it is of.

    Raises:
        InputError: a path does not exist.
    """

    def __init__(
        self,
        settings: Settings,
        now: datetime,
        *,
        with_revision: bool = True,
        source: TreeSource | None = None,
        revision: str = "",
    ) -> None:
        from reconciler.sources.directory import Directory
        from reconciler.sources.git import WorkingTreeStatus

        status = WorkingTreeStatus(settings.root, settings.paths) if with_revision else None
        self._settings = settings
        self._now = now
        self._source = source or Directory(settings.root)
        self._snapshot = self._source.scan(settings.paths, whole=settings.whole)
        others = sorted(self._snapshot.pem_files | self._snapshot.lock_files)
        self._seen = {**self._snapshot.files, **dict.fromkeys(others, b"")}
        self._compiled: Compiled | None = None
        self._revision, self._dirty = status.result() if status else (revision, False)

    def validate(self) -> Validation:
        """Return everything that is wrong with the tree, for every target, whatever their selectors."""
        from reconciler.reports.validation import Validation

        compiled = self._compile()
        whole = self._snapshot.whole and compiled.desired.complete and not self._settings.other_targets
        judged = self._settings.levels.judge(compiled.desired.problems, self._now.date(), whole=whole)
        return Validation(
            problems=judged.problems,
            gateways=len(compiled.desired.gateways),
            files=sorted({*self._snapshot.files, *compiled.named}),
            suppressed=judged.suppressed,
        )

    def desired(self, target: Target, cache: TreeCache | None = None) -> DesiredState:
        """Return what the tree wants in a target. A tree without errors is remembered."""
        from reconciler.cache import holds_until

        new = self._compiled is None
        compiled = self._compile()
        if new and cache is not None and compiled.desired.complete:
            until = holds_until(compiled.desired, self._now, self._settings.expiry_warning_days)
            cache.save(self._seen, compiled.named, compiled.desired, until)
        self._forget_bytes()
        return self._within(target, compiled.desired)

    def remembered(self, target: Target, cache: TreeCache) -> DesiredState | None:
        """Return what these very files compiled to the last time, if that is known."""
        if self._compiled is not None or not self._snapshot.whole or self._snapshot.problems:
            return None
        desired = cache.load(self._seen, self._source.read, self._now)
        return None if desired is None else self._within(target, desired)

    def _forget_bytes(self) -> None:
        """Let go of the files' bytes: compiled, they are of no use, and a large tree is many."""
        self._snapshot = replace(self._snapshot, files=dict.fromkeys(self._snapshot.files, b""))
        self._seen = {}

    def _compile(self) -> Compiled:
        from reconciler.reading import compile_tree
        from reconciler.schema_files import load_schemas

        if self._compiled is None:
            self._compiled = compile_tree(
                self._snapshot,
                self._source,
                load_schemas(),
                self._now,
                expiry_warning_days=self._settings.expiry_warning_days,
                targets=scopes(self._settings),
                every_target=not self._settings.other_targets,
            )
        return self._compiled

    def _within(self, target: Target, desired: DesiredState) -> DesiredState:
        dated = replace(desired, revision=self._revision, dirty=self._dirty)
        return within(dated, self._settings, target, self._now)


def within(desired: DesiredState, settings: Settings, target: Target, now: datetime) -> DesiredState:
    """Return the part of the desired state that belongs in a target, its problems at their levels."""
    gateways = _belonging(desired.gateways, target)
    elsewhere = desired.gateways.keys() - gateways.keys()
    siblings = [name for sibling in target.siblings for name in _belonging(desired.gateways, sibling)]
    ours = [each for each in desired.problems if not each.gateways or not elsewhere.issuperset(each.gateways)]
    return replace(
        desired,
        gateways=gateways,
        problems=settings.levels.judge(ours, now.date(), whole=False).problems,
        complete=not has_errors(ours) and covers(settings.paths, target.path),
        elsewhere=frozenset(siblings),
    )


def _belonging(gateways: Mapping[str, DesiredGateway], target: Target) -> Mapping[str, DesiredGateway]:
    if target.path == "." and not target.selector:
        return gateways
    labels = dict(target.selector).items()
    return {
        name: wanted
        for name, wanted in gateways.items()
        if covers((target.path,), wanted.location.file) and labels <= dict(wanted.labels).items()
    }


def validate_tree(settings: Settings, now: datetime) -> Validation:
    """Return everything that is wrong with the working tree, offline and without credentials.

    Raises:
        InputError: a path does not exist.
    """
    return Tree(settings, now, with_revision=False).validate()


def read_tree(settings: Settings, now: datetime, *, with_revision: bool = True) -> DesiredState:
    """Return what the working tree wants in the one target, compiled from its files.

    Raises:
        InputError: a path does not exist, or there are several targets.
    """
    return Tree(settings, now, with_revision=with_revision).desired(settings.target)


def plan_tree(tree: Tree, target: Target, engine: Engine, cache: TreeCache) -> tuple[DesiredState, Plan]:
    """Return what the tree wants in the target, and the plan for it.

    A tree that is known by content is only compared; where that finds anything to do, it is compiled anew first.

    Raises:
        ProblemsError: the tree has errors, so nothing may be planned from it.
        StoreError: the store could not be read.
    """
    remembered = tree.remembered(target, cache)
    if remembered is not None and not has_errors(remembered.problems) and (planned := engine.plan(remembered)).in_sync:
        return remembered, planned
    desired = tree.desired(target, cache)
    if has_errors(desired.problems):
        raise ProblemsError(desired.problems)
    return desired, engine.plan(desired)


def find_signing_key(settings: Settings, environ: Mapping[str, str], *, required: bool) -> Signer | None:
    """Return the signing key: the environment's before the config file's.

    Raises:
        SignerError: the key that is named cannot be used.
        InputError: a key is required, none is named, and working unsigned was not asked for.
    """
    from reconciler.signers import find_signer

    insisted = required and not settings.allow_unsigned
    signer = find_signer(None, environ)
    if signer is None and settings.signing_key:
        signer = find_signer(settings.signing_key, environ, missing_ok=not insisted)
    if signer is None and insisted:
        raise InputError(
            "there is no signing key, so what is stored could not be told from what an intruder stores",
            fix="make one with `reconciler keys generate signing.key` and set RECONCILER_SIGNING_KEY_FILE=signing.key, "
            "or go on without with --allow-unsigned",
        )
    return signer


def keyring(settings: Settings, signer: Signer | None, now: datetime) -> Keyring:
    """Return the public keys to trust: those of `keys/trusted.yaml` that are in force, or else the signing key's own.

    Raises:
        InputError: none of the keys is in force, or the signing key is not among those that are.
    """
    from reconciler.core.keyring import PLACE
    from reconciler.core.signing import Keyring, Role, key_id

    if signer is None and settings.allow_unsigned:
        return Keyring()
    every = Keyring.of_keys(settings.trusted_keys)
    trusted = every.at(now)
    if every.keys and not trusted.keys:
        raise InputError(
            f"of the {len(every.keys)} keys in {PLACE} none is in force at {now:%Y-%m-%d %H:%M} UTC",
            fix="see `reconciler keys list`; add a key in a reviewed commit, or correct the clock of this machine",
        )
    if signer is None:
        return trusted
    own = key_id(signer.public_key)
    if not settings.trusted_keys:
        return Keyring.of_raw({"signing key": signer.public_key})
    if not any(key.id == own and key.roles == frozenset(Role) for key in trusted.keys):
        raise InputError(
            f"the signing key {own} is not one that {PLACE} trusts with bundles and records today",
            fix=f"sign with a trusted key, or add this one to {PLACE} in a reviewed commit",
        )
    return trusted


@contextmanager
def build_engine(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    write: bool,
    adopt: frozenset[str] = frozenset(),
    labels: frozenset[tuple[str, str]] = frozenset(),
    clock: Callable[[], datetime] = now,
) -> Iterator[Engine]:
    """Open the store and yield the engine over it. Only a pass that writes needs a signing key, or creates a store.

    The keys are those that are in force when it is opened.

    Raises:
        InputError: no such store, or no usable key.
        StoreError: the store cannot be opened.
    """
    from reconciler.books import ledger_of
    from reconciler.core.model import Feature
    from reconciler.core.planning import Terms
    from reconciler.core.signatures import signatures
    from reconciler.engine import Engine
    from reconciler.remembering import remembered, verified_rows
    from reconciler.stores import open_store

    target = settings.target
    signer = find_signing_key(settings, environ, required=write)
    trusted = keyring(settings, signer, clock())
    store = open_store(target.store, create=write, access=access(environ, signer))
    try:
        file = verified_rows(environ, _name_of(settings), signer, trusted) if signer is not None else None
        with remembered(file, partial(ledger_of, settings, environ=environ)) as (memory, precedents):
            signed = signatures(signer, trusted, memory, precedents)
            yield Engine(
                store=store,
                kind=target.store.partition(":")[0],
                signatures=signed if Feature.RECORD_SIGNATURE in store.features else signed.without_records(),
                keyring=trusted,
                terms=Terms(settings.stamp_owner, target.prune, target.policy, adopt, adopt or None, labels),
                limits=target.limits,
                clock=clock,
            )
    finally:
        store.close()


def _name_of(settings: Settings) -> str:
    """Return a name for the target's store, from wherever the command runs; never its user and password."""
    from reconciler.settings import shown_store
    from reconciler.stores import sqlite_path

    store = settings.target.store
    return str(path.resolve()) if (path := sqlite_path(store)) is not None else f"{settings.root} {shown_store(store)}"


def access(environ: Mapping[str, str], signer: Signer | None) -> Access:
    """Return how a store behind a wire is let in, and how it has secrets and seals what stands for them."""
    from reconciler.credentials import resolve
    from reconciler.stores.access import Access, sealed_by

    return Access(environ, partial(resolve, environ=environ), sealed_by(signer) if signer is not None else None)


def reviewed_gateways(settings: Settings, now: datetime, paths: Sequence[Path]) -> Mapping[str, DesiredGateway]:
    """Return the gateways as the manifests describe them, as far as they do.

    Without a config file or a path nothing is read: then verification has no policies, and uses no credentials.
    """
    if settings.config is None and not paths:
        return {}
    return read_tree(settings, now, with_revision=False).gateways


def audit(environ: Mapping[str, str], now: datetime) -> Audit:
    """Return who writes, as the store's audit columns have it."""
    import getpass

    from reconciler.core.model import Audit
    from reconciler.version import __version__

    actor = environ.get("RECONCILER_ACTOR") or environ.get("GITHUB_ACTOR") or getpass.getuser()
    return Audit(actor, f"reconciler/{__version__}", now)
