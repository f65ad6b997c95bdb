"""`reconciler keys`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.options import Voice, Where, settings_of, voice, where
from reconciler.errors import GuardError, InputError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from reconciler.core.auditing import Resigning
    from reconciler.core.model import LiveState
    from reconciler.core.signing import Keyring, TrustedKey
    from reconciler.engine import Engine
    from reconciler.settings import Settings


def moment(_context: click.Context, _option: click.Parameter, given: str | None) -> datetime | None:
    """Return the moment that an option gives."""
    from reconciler.core.keyring import moment as read

    try:
        return read(given) if given is not None else None
    except ValueError:
        raise click.BadParameter(f"`{given}` is not a day, or not a moment of one: write it as in 2027-03-31") from None


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

    The public key is printed as `keys add` puts it into keys/trusted.yaml.
    """
    from reconciler.core.signing import generate as new_key
    from reconciler.core.signing import key_id, public_text
    from reconciler.signers.keyfile import key_in_file, write_new_key

    pair = new_key()
    write_new_key(file, pair.private)
    public = key_in_file(file).public_key
    if voice.format == "json":
        voice.document({"format_version": "1.0", "key_id": key_id(public), "public_key": public_text(public)})
        return 0
    voice.report(f"- name: {file.stem}\n  publicKey: {public_text(public)}  # {key_id(public)}")
    voice.say(f"Wrote the private key to {file} (0600). Keep it out of git.")
    voice.say("Next: have it trusted, and sign with it:")
    named = f"RECONCILER_SIGNING_KEY_FILE={shlex.quote(str(file))}"
    voice.say(f"  {named} reconciler keys add {shlex.quote(file.stem)}")
    voice.say(f"  {named} reconciler apply")
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

    Exit 1: the store cannot be read, or holds nothing. 3: no key is in force. 6: a row is not what a trusted key
    signed, or nobody signed it.
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
    if not rows:  # a wrong path reads like an empty store, and neither proves anything
        raise StoreError(f"{store} holds no gateway, so there is nothing to check", fix="check the store's URL")
    if voice.format == "json":
        voice.document(report.audit_as_document(store, rows, carried(rows)))
    else:
        voice.report(report.audit_as_text(store, rows, voice.style))
    return 0 if all(row.genuine for row in rows) else 6


@keys.command(
    epilog="""\b
Examples:
  RECONCILER_SIGNING_KEY_FILE=new.key reconciler keys add "2027"
  reconciler keys add contextforge --public-key /FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU= --role bundle
""",
)
@click.argument("name")
@click.option("--public-key", help="The public key, base64 or PEM. [default: that of the key that signs here]")
@click.option("--role", "roles", type=click.Choice(["bundle", "record"]), multiple=True, help="[default: both]")
@click.option("--not-before", metavar="MOMENT", callback=moment, help="Trusted from then on, such as 2027-01-01.")
@click.option("--not-after", metavar="MOMENT", callback=moment, help="Trusted until then.")
@where(argument="option")
@voice("json")
def add(where: Where, voice: Voice, name: str, **given: Any) -> int:
    """Add a key called NAME to keys/trusted.yaml, for you to review and commit.

    Nothing else in the file changes, and nothing is trusted before the commit is where the reconciler reads.
    """
    from reconciler.core.keyring import PLACE
    from reconciler.core.signing import Role, TrustedKey
    from reconciler.core.signing import public_key as raw
    from reconciler.trusting import add_key

    settings = settings_of(where)
    public = raw(name, given["public_key"]) if given["public_key"] else _own_key(settings)
    roles = frozenset(map(Role, given["roles"])) or frozenset(Role)
    key = TrustedKey(name, public, roles, given["not_before"], given["not_after"])
    add_key(settings.root, key)
    if voice.format == "json":
        voice.document({"format_version": "1.0", "added": name, "key_id": key.id, "file": PLACE})
    else:
        voice.report(f"Added {name}, {key.id}, to {PLACE}.")
    if not settings.trusted_keys:
        voice.say("It is the first one: from now on rows that another key signed are not genuine.")
    voice.say("Next: review and commit it; then `reconciler keys rotate` signs with the new key.")
    return 0


@keys.command(
    epilog="""\b
Examples:
  reconciler keys retire first
  reconciler keys retire first --compromised     somebody else has it: what it signed is tampering from now on
""",
)
@click.argument("name")
@click.option(
    "--compromised", is_flag=True, help="Do not ask the stores first: whatever it signed is to be distrusted."
)
@where(argument="option")
@voice("json")
def retire(where: Where, voice: Voice, *, name: str, compromised: bool) -> int:
    """Remove the key called NAME from keys/trusted.yaml, for you to review and commit, once no row needs it any more.

    Every target's store is asked. Exit 4: rows still carry its signature; `reconciler keys rotate` signs them again.
    """
    from reconciler.core.keyring import PLACE
    from reconciler.trusting import retire_key

    settings = settings_of(where)
    carrying = {} if compromised else _carrying(settings, name)
    if any(carrying.values()):
        shown = ", ".join(f"{count} in {store}" for store, count in carrying.items() if count)
        raise GuardError(
            f"rows still carry the signature of {name}: {shown}; without it they would count as tampering",
            fix="`reconciler keys rotate` signs them again; --compromised is for a key that somebody else has",
        )
    retire_key(settings.root, name)
    if voice.format == "json":
        voice.document({"format_version": "1.0", "retired": name, "asked": list(carrying), "file": PLACE})
    else:
        voice.report(f"Removed {name} from {PLACE}.")
    after = "apply: what it signed is written again" if compromised else "delete the private key where it lies"
    voice.say(f"Next: review and commit it, and {after}.")
    return 0


def _own_key(settings: Settings) -> bytes:
    from reconciler.composition import find_signing_key

    signer = find_signing_key(settings, os.environ, required=False)
    if signer is None:
        raise InputError("there is no key that signs here", fix="name one as for an apply, or give --public-key")
    return signer.public_key


def _carrying(settings: Settings, name: str) -> dict[str, int]:
    """Return in how many rows of each store the signature of a key stands, whether it is in force or not."""
    from reconciler.core.auditing import audit, carried
    from reconciler.core.signing import Keyring
    from reconciler.settings import each_target, shown_store

    keyring = Keyring.of_keys(settings.trusted_keys)
    counts = {}
    for each in each_target(settings):
        counts[shown_store(each.target.store)] = carried(audit(_read(each), keyring)).get(name, 0)
    return counts


@keys.command(
    epilog="""\b
A rotation, step by step:
  reconciler keys generate new.key                                     1. make the new key
  RECONCILER_SIGNING_KEY_FILE=new.key reconciler keys add "2027"       2. trust it too; review, merge
  RECONCILER_SIGNING_KEY_FILE=new.key reconciler keys rotate           3. sign every row again, with the new key
  reconciler keys retire "2026"                                        4. trust the old one no more; review, merge

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
        voice.say(f"No row carries `{name}` any more: `reconciler keys retire {shlex.quote(name)}` removes it.")


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
