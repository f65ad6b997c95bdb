"""`reconciler keys`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.options import Voice, Where, settings_of, voice, where
from reconciler.errors import GuardError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from reconciler.core.auditing import Resigning
    from reconciler.core.model import LiveState
    from reconciler.core.signing import Keyring, TrustedKey
    from reconciler.engine import Engine
    from reconciler.settings import Settings


@click.group()
def keys() -> None:
    """Make signing keys (Ed25519), rotate them, and check what a store holds with public keys alone."""


@keys.command(
    epilog="""\b
Examples:
  reconciler keys generate signing.key
  RECONCILER_SIGNING_KEY_FILE=signing.key reconciler apply

\b
ContextForge takes the same key:
  ENABLE_ED25519_SIGNING=true ED25519_PRIVATE_KEY="$(cat signing.key)"
"""
)
@click.argument("file", type=click.Path(path_type=Path))
@voice("json")
def generate(file: Path, voice: Voice) -> int:
    """Make a signing key in FILE: an unencrypted PKCS#8 PEM, readable by you alone (0600). Never overwrites.

    The public key is printed, ready for keys/trusted.yaml.
    """
    from reconciler.core.signing import generate as new_key
    from reconciler.core.signing import key_id, public_text
    from reconciler.signers.keyfile import KeyFile, write_new_key

    pair = new_key()
    write_new_key(file, pair.private)
    public = KeyFile(file).public_key
    if voice.format == "json":
        voice.document({"format_version": "1.0", "key_id": key_id(public), "public_key": public_text(public)})
        return 0
    voice.report(f"- name: {file.stem}\n  publicKey: {public_text(public)}  # {key_id(public)}")
    voice.say(f"Wrote the private key to {file} (0600). Keep it out of git.")
    voice.say("Next: add the lines above to keys/trusted.yaml, below spec.keys, and sign with")
    voice.say(f"  RECONCILER_SIGNING_KEY_FILE={file} reconciler apply")
    return 0


@keys.command(
    "list",
    epilog="""\b
Examples:
  reconciler keys list
  reconciler keys list -o json | jq '.keys[] | select(.state != "active")'
""",
)
@where(argument="option")
@voice("json")
def list_keys(where: Where, voice: Voice) -> int:
    """Show the keys of keys/trusted.yaml: what each may vouch for, from when until when, and which one signs here."""
    from reconciler.clock import now
    from reconciler.composition import find_signing_key
    from reconciler.core.signing import key_id
    from reconciler.reports import keys as report

    settings, moment = settings_of(where), now()
    signer = find_signing_key(settings, os.environ, required=False)
    own = key_id(signer.public_key) if signer is not None else ""
    if voice.format == "json":
        voice.document(report.keys_as_document(settings.trusted_keys, moment, own))
    else:
        voice.report(report.keys_as_text(settings.trusted_keys, moment, own, voice.style))
    return 0


@keys.command(
    epilog="""\b
Examples:
  reconciler keys verify                              the store of the target
  reconciler keys verify sqlite:///gateways.db --keyring trusted.yaml -o json
"""
)
@click.argument("store_url", metavar="[STORE]", required=False)
@click.option(
    "--keyring",
    "file",
    type=click.Path(path_type=Path),
    help="The file of trusted keys. [default: keys/trusted.yaml of the repository]",
)
@where(argument="option")
@voice("json")
def verify(where: Where, voice: Voice, *, store_url: str | None, file: Path | None) -> int:
    """Check every signature in STORE with public keys alone: no private key, no manifests, no journal is used.

    A genuine row that is older than the one that it replaced passes: `reconciler drift` finds it, with the journal.

    Exit 6: a row is not what a trusted key signed, or nobody signed it.
    """
    from dataclasses import replace

    from reconciler.clock import now
    from reconciler.core.auditing import audit, carried
    from reconciler.reports import keys as report
    from reconciler.settings import keyring_file, shown_store

    settings = settings_of(where if store_url is None else replace(where, store=store_url))
    trusted = keyring_file(file) if file is not None else settings.trusted_keys
    rows = audit(_read(settings), _keyring(trusted, now()))
    store = shown_store(settings.target.store)
    if voice.format == "json":
        voice.document(report.audit_as_document(store, rows, carried(rows)))
    else:
        voice.report(report.audit_as_text(store, rows, voice.style))
    return 0 if all(row.genuine for row in rows) else 6


@keys.command(
    epilog="""\b
A rotation, step by step:
  reconciler keys generate new.key        1. make the new key
  (keys/trusted.yaml)                     2. add its public half beside the old one; review, merge
  reconciler keys rotate                  3. sign every row again, with the new key
  (keys/trusted.yaml)                     4. once no row carries the old key: remove it; review, merge

\b
Examples:
  RECONCILER_SIGNING_KEY_FILE=new.key reconciler keys rotate --dry-run
  RECONCILER_SIGNING_KEY_FILE=new.key reconciler keys rotate
"""
)
@where(argument="option")
@click.option("--dry-run", is_flag=True, help="Show what would be signed again, and do nothing.")
@voice("json")
def rotate(where: Where, voice: Voice, *, dry_run: bool) -> int:
    """Sign every row of ours again with the key in use, in one pass, and count which rows carry which key.

    Nothing but signatures is written, and nothing at all if a row is not genuine: signing it would vouch for it.

    Exit 4: a row is not genuine, and nothing was written. 5: some rows were not written; run it again.
    """
    from reconciler.composition import build_engine
    from reconciler.core.auditing import resigning

    settings = settings_of(where)
    with build_engine(settings, os.environ, write=not dry_run) as engine:
        found = resigning(engine.store.read(), engine.signatures, engine.terms.owner)
        _refuse_forgeries(found, voice)
        done = _carried_out(settings, engine, found) if not dry_run else 0
        _tell_rotation(settings, engine, found, voice, dry_run=dry_run)
    return 0 if dry_run or done == len(found.plan.changes) else 5


def _refuse_forgeries(found: Resigning, voice: Voice) -> None:
    from reconciler.reports import keys as report

    if found.refused:
        voice.say(report.refused_as_text(found.refused, voice.style))
        raise GuardError(
            f"{len(found.refused)} rows are not genuine, and signing them would vouch for them; nothing was written",
            fix="find out who wrote them; `reconciler apply` writes the reviewed rows back",
        )


def _carried_out(settings: Settings, engine: Engine, found: Resigning) -> int:
    """Write the new signatures, and return how many were written."""
    from dataclasses import replace

    from reconciler.clock import now
    from reconciler.composition import audit
    from reconciler.core.model import DesiredState
    from reconciler.recording import Recorder

    if not found.plan.changes:
        return 0
    unbounded = replace(engine, limits=replace(engine.limits, max_update_percent=100))
    recorder = Recorder(settings, unbounded, now, audit(os.environ, now()))
    return recorder.apply(found.plan, DesiredState({}), None).result.count("applied")


def _tell_rotation(settings: Settings, engine: Engine, found: Resigning, voice: Voice, *, dry_run: bool) -> None:
    from reconciler.core.auditing import audit, carried
    from reconciler.reports import keys as report

    rows = audit(engine.store.read(), engine.keyring)
    counts = carried(rows)
    own = engine.signatures.key_id
    idle = [key.name for key in engine.keyring.keys if not counts.get(key.name) and key.id != own]
    if voice.format == "json":
        signed = {"signed": 0 if dry_run else len(found.plan.changes), "to_sign": len(found.plan.changes)}
        voice.document({"format_version": "1.0", **signed, "carried": dict(counts), "retire": idle})
        return
    verb = "would be signed again" if dry_run else "signed again"
    voice.report(f"{len(found.plan.changes)} of {len(rows)} rows {verb} with key {own or '(none)'}.")
    voice.report(report.carried_as_text(counts, engine.keyring.keys))
    for name in idle if not settings.target.siblings else ():
        voice.say(f"No row carries `{name}` any more: remove it from keys/trusted.yaml in a reviewed commit.")


def _keyring(keys: Sequence[TrustedKey], now: datetime) -> Keyring:
    from reconciler.core.signing import Keyring

    keyring = Keyring.of_keys(keys).at(now)
    if not keyring.keys:
        raise InputError(
            "there is no public key in force to check the signatures with",
            fix="run it in the repository that has keys/trusted.yaml, or give such a file with --keyring",
        )
    return keyring


def _read(settings: Settings) -> LiveState:
    from contextlib import closing

    from reconciler.composition import access
    from reconciler.stores import open_store

    with closing(open_store(settings.target.store, create=False, access=access(os.environ, None))) as store:
        return store.read()
