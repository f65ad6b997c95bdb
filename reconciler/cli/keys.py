"""`reconciler keys`."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli.options import Voice, voice


@click.group()
def keys() -> None:
    """Make and look at signing keys (Ed25519)."""


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

    The public key is printed, ready for `spec.signing.trustedKeys` of reconciler.yaml.
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
    voice.say("Next: add the lines above under spec.signing.trustedKeys of reconciler.yaml, and sign with")
    voice.say(f"  RECONCILER_SIGNING_KEY_FILE={file} reconciler apply")
    return 0
