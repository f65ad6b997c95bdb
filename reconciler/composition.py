"""Puts the rooms together: settings, tree, keys, store and probes become an engine.

The environment comes in as an argument; commands, the demo and embedding programs all build their engine here.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.errors import InputError
from reconciler.settings import shown_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from reconciler.cache import TreeCache
    from reconciler.core.conditions import Condition
    from reconciler.core.model import Audit, DesiredGateway, DesiredState
    from reconciler.core.planning import Plan
    from reconciler.core.ports import Signer
    from reconciler.core.signing import Keyring
    from reconciler.core.verification import Verified
    from reconciler.engine import Engine, Result
    from reconciler.journal import Journal
    from reconciler.settings import Settings


class Tree:
    """The manifests of a run: scanned once, compiled when that is needed. git is asked for the revision meanwhile.

    Raises:
        InputError: a path does not exist.
    """

    def __init__(self, settings: Settings, now: datetime, *, with_revision: bool = True) -> None:
        from reconciler.sources.directory import Directory
        from reconciler.sources.git import WorkingTreeStatus

        status = WorkingTreeStatus(settings.root, settings.paths) if with_revision else None
        self._settings = settings
        self._now = now
        self._source = Directory(settings.root)
        self._snapshot = self._source.scan(settings.paths, whole=settings.whole)
        self._revision, self._dirty = status.result() if status else ("", False)

    def desired(self, cache: TreeCache | None = None) -> DesiredState:
        """Compile the manifests, and remember the result if it has no errors."""
        from reconciler.cache import holds_until
        from reconciler.reading import compile_tree
        from reconciler.schema_files import load_schemas

        days = self._settings.expiry_warning_days
        compiled = compile_tree(self._snapshot, self._source, load_schemas(), self._now, expiry_warning_days=days)
        if cache is not None and compiled.desired.complete:
            until = holds_until(compiled.desired, self._now, days)
            cache.save(self._snapshot.files, compiled.named, compiled.desired, until)
        return self._of_this_target(compiled.desired)

    def remembered(self, cache: TreeCache) -> DesiredState | None:
        """Return what these very files compiled to the last time, if that is known."""
        if not self._snapshot.whole or self._snapshot.problems:
            return None
        desired = cache.load(self._snapshot.files, self._source.read, self._now)
        return None if desired is None else self._of_this_target(desired)

    def _of_this_target(self, desired: DesiredState) -> DesiredState:
        desired = replace(desired, revision=self._revision, dirty=self._dirty)
        return _selected(desired, dict(self._settings.target.selector))


def read_tree(settings: Settings, now: datetime, *, with_revision: bool = True) -> DesiredState:
    """Return what the working tree wants, compiled from its files.

    Raises:
        InputError: a path does not exist.
    """
    return Tree(settings, now, with_revision=with_revision).desired()


def plan_tree(tree: Tree, engine: Engine, cache: TreeCache) -> tuple[DesiredState, Plan]:
    """Return what the tree wants and the plan for it.

    A tree that is known by content is only compared; where that finds anything to do, it is compiled anew first.

    Raises:
        ProblemsError: the tree has errors, so nothing may be planned from it.
        StoreError: the store could not be read.
    """
    from reconciler.core.problems import ProblemsError, has_errors

    remembered = tree.remembered(cache)
    if remembered is not None and (planned := engine.plan(remembered)).in_sync:
        return remembered, planned
    desired = tree.desired(cache)
    if has_errors(desired.problems):
        raise ProblemsError(desired.problems)
    return desired, engine.plan(desired)


def _selected(desired: DesiredState, selector: Mapping[str, str]) -> DesiredState:
    if not selector:
        return desired
    wanted = selector.items()
    gateways = {name: each for name, each in desired.gateways.items() if wanted <= dict(each.labels).items()}
    return replace(desired, gateways=gateways)


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


def keyring(settings: Settings, signer: Signer | None) -> Keyring:
    """Return the public keys to trust: those of the config file, or else the signing key's own.

    Raises:
        InputError: a trusted key is not one, or the signing key is not among them.
    """
    from reconciler.core.signing import Keyring, key_id

    if signer is None and settings.allow_unsigned:
        return Keyring.of({})
    trusted = Keyring.of({key.name: key.public_key for key in settings.trusted_keys})
    if signer is None:
        return trusted
    own = key_id(signer.public_key)
    if not settings.trusted_keys:
        return Keyring.of_raw({"signing key": signer.public_key})
    if own not in trusted.key_ids:
        raise InputError(
            f"the signing key {own} is not among the trusted keys of reconciler.yaml",
            fix="sign with a trusted key, or add this one under spec.signing.trustedKeys in a reviewed commit",
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
) -> Iterator[Engine]:
    """Open the store and yield the engine over it. Only a pass that writes needs a signing key, or creates a store.

    Raises:
        InputError: no such store, or no usable key.
        StoreError: the store cannot be opened.
    """
    from reconciler.core.planning import Terms
    from reconciler.engine import Engine, signatures
    from reconciler.stores import open_store

    target = settings.target
    signer = find_signing_key(settings, environ, required=write)
    trusted = keyring(settings, signer)
    store = open_store(target.store, create=write)
    try:
        yield Engine(
            store=store,
            kind=target.store.partition(":")[0],
            signatures=signatures(signer, trusted),
            keyring=trusted,
            terms=Terms(settings.owner, target.prune, target.policy, adopt, adopt or None, labels),
            limits=target.limits,
        )
    finally:
        store.close()


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


@contextmanager
def journal_of(settings: Settings, *, create: bool) -> Iterator[Journal | None]:
    """Yield the journal beside the store, or None where a store has no room for one."""
    from reconciler.journal import open_journal
    from reconciler.stores import sqlite_path

    path = sqlite_path(settings.target.store)
    journal = open_journal(path, create=create) if path is not None else None
    try:
        yield journal
    finally:
        if journal is not None:
            journal.close()


def record_applied(settings: Settings, engine: Engine, result: Result, by: Audit, finished: datetime) -> None:
    """Write down what an apply did, and what was seen afterwards."""
    from reconciler.core.model import Action
    from reconciler.core.verification import synced
    from reconciler.journal import ApplyRecord

    if not result.outcomes:
        return
    plan = result.plan
    gone = [each.name for each in result.outcomes if each.action is Action.DELETE and each.status == "applied"]
    counts = {status: result.count(status) for status in ("applied", "refused", "failed", "skipped")}
    store = shown_store(settings.target.store)
    with journal_of(settings, create=True) as journal:
        if journal is None:
            return
        journal.record_conditions({each.name: (synced(each, plan.revision, by.at),) for each in result.outcomes})
        journal.forget(gone)
        journal.record_apply(ApplyRecord(by.at, finished, by.actor, plan.revision, plan.dirty, store, **counts))
    record_verified(settings, engine.examined_changes(result), finished)


def record_verified(settings: Settings, results: Sequence[Verified], now: datetime) -> None:
    """Write down what verification found of the gateways that were looked at; what is known besides is kept."""
    from reconciler.core.verification import verified_conditions
    from reconciler.journal import Sighting

    seen = {each.name: each.observation for each in results if each.observation is not None}
    if not seen:
        return
    with journal_of(settings, create=True) as journal:
        if journal is None:
            return
        known = journal.conditions()
        found = {each.name: verified_conditions(each, now) for each in results if each.name in seen}
        journal.record_conditions({name: _merged(known.get(name, ()), new) for name, new in found.items()})
        journal.record_observations(
            {
                name: Sighting(
                    verified_at=now,
                    ready=observation.ok,
                    tools=len(observation.mcp.tools) if observation.mcp else 0,
                    leaf_not_after=observation.tls.chain[0].not_after
                    if observation.tls and observation.tls.chain
                    else None,
                )
                for name, observation in seen.items()
            }
        )


def _merged(known: Sequence[Condition], new: Sequence[Condition]) -> tuple[Condition, ...]:
    types = {condition.type for condition in new}
    return (*(condition for condition in known if condition.type not in types), *new)
