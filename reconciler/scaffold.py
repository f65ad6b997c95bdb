"""A first repository: everything a team needs to review gateways in pull requests, and nothing it has to set up."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEY_FILE: Final = ".reconciler/signing.key"

_CONFIG: Final = """\
# yaml-language-server: $schema=schemas/config.v1.schema.json
apiVersion: reconciler/v1
kind: Config
metadata:
  name: gateways
spec:
  # Who writes: what other owners hold in the same store is never touched.
  owner: "{owner}"
  # Where the manifests are, and the store that is kept as they say.
  path: gateways
  store: sqlite:///gateways.db
  signing:
    # The private key stays out of git (.gitignore has its directory). In CI, set RECONCILER_SIGNING_KEY instead.
    keyFrom: {{file: {key_file}}}
    # Whoever holds one of these keys may say what a CA bundle is. Changing this list is a change to review.
    trustedKeys:
      - name: first
        publicKey: {public_key}
"""

_EXAMPLE: Final = """\
# yaml-language-server: $schema=../schemas/gateway.v1.schema.json
# One document, one gateway. Put the PEM files of a private CA next to it and name them under tls.caCertificates.
apiVersion: reconciler/v1
kind: Gateway
metadata:
  name: example
  labels: {team: platform, environment: production}
spec:
  url: https://mcp.example.com/mcp
  transport: streamable-http
  description: An MCP server of ours
  # Registered, and not in use: set this to true when the server answers. `reconciler verify` proves it.
  enabled: false
  # tls:
  #   caCertificates: [example-root.pem]
  # auth:
  #   type: bearer
  #   tokenFrom: {env: EXAMPLE_TOKEN}
"""

_WORKFLOW: Final = """\
name: gateways
on:
  pull_request:
  push:
    branches: [main]
permissions:
  contents: read
jobs:
  validate:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
        with: {persist-credentials: false}
      - uses: actions/setup-python@v6
        with: {python-version: "3.13"}
      - run: pip install mcp-gateway-reconciler
      - run: reconciler validate
"""

_PRE_COMMIT: Final = """\
repos:
  - repo: local
    hooks:
      - id: reconciler-validate
        name: validate MCP gateways
        entry: reconciler validate
        language: python
        additional_dependencies: [mcp-gateway-reconciler]
        files: ^(gateways/|reconciler\\.yaml$)
        pass_filenames: false
"""

_GITIGNORE: Final = """\
# The private signing key, and the local store.
.reconciler/
*.db
*.db-shm
*.db-wal
"""


_OWNER: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def fitting_owner(name: str) -> str:
    """Return the name of a directory as that of an owner: what an owner's cannot hold becomes a hyphen."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:63].strip("_.-") or "reconciler"


def scaffold(directory: Path, owner: str, private_key: bytes, public_key: str, schemas: Mapping[str, str]) -> list[str]:
    """Write a first repository into `directory` and return the names of the files made, in order.

    Raises:
        InputError: one of the files exists already, or the directory cannot be written, or the owner's name does not
            fit. Nothing is overwritten.
    """
    from reconciler.signers.keyfile import write_new_key

    if not _OWNER.fullmatch(owner):
        raise InputError(
            "the owner's name does not fit: letters, digits, `-`, `_` and `.`, at most 63",
            fix=f"for example --owner {fitting_owner(owner)}",
        )
    files = {
        "reconciler.yaml": _CONFIG.format(owner=owner, key_file=KEY_FILE, public_key=public_key),
        "gateways/example.yaml": _EXAMPLE,
        **{f"schemas/{name}": text for name, text in sorted(schemas.items())},
        ".github/workflows/gateways.yml": _WORKFLOW,
        ".pre-commit-config.yaml": _PRE_COMMIT,
        ".gitignore": _GITIGNORE,
    }
    existing = [name for name in (*files, KEY_FILE) if (directory / name).exists()]
    if existing:
        raise InputError(
            f"{directory} has {', '.join(existing)} already", fix="choose another directory; nothing was written"
        )
    try:
        for name, text in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        key = directory / KEY_FILE
        key.parent.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise InputError(f"{error.filename} cannot be written: {error.strerror}", fix="check the directory") from None
    write_new_key(key, private_key)
    return [*files, KEY_FILE]
