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
"""

_KEYRING: Final = """\
# yaml-language-server: $schema=../schemas/keyring.v1.schema.json
# Whoever holds one of these keys may say what a gateway is. Changing this list is a change to review.
apiVersion: reconciler/v1
kind: Keyring
metadata:
  name: trusted
spec:
  keys:
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
# What a pull request changes is checked without credentials and without a store. To apply what is merged, add a job on
# the branch main with the signing key in RECONCILER_SIGNING_KEY, in an environment that asks for approval.
name: gateways
on:
  pull_request:
  push:
    branches: [main]
permissions:
  contents: read
jobs:
  review:
    runs-on: ubuntu-latest
    timeout-minutes: 10
    permissions:
      contents: read
      pull-requests: write
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
        with: {fetch-depth: 0, persist-credentials: false}
      - uses: actions/setup-python@e797f83bcb11b83ae66e0230d6156d7c80228e7c # v6.0.0
        with: {python-version: "3.13"}
      - name: Install
        run: pip install mcp-gateway-reconciler
      - name: Validate
        run: reconciler validate --output github
      - name: Show what the pull request changes
        if: ${{ !cancelled() && github.event_name == 'pull_request' }}
        env:
          BASE: ${{ github.base_ref }}
        run: reconciler plan --base "origin/$BASE" --output markdown > "$RUNNER_TEMP/plan.md"
      - name: Say it on the pull request
        # One from a fork has no right to comment; its plan is in the summary of the job.
        if: ${{ !cancelled() && github.event.pull_request.head.repo.full_name == github.repository }}
        env:
          RECONCILER_COMMENT_TOKEN: ${{ github.token }}
        run: reconciler comment "$RUNNER_TEMP/plan.md"
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
        files: ^(gateways/|keys/|reconciler\\.yaml$)
        pass_filenames: false
      - id: reconciler-fmt
        name: format MCP gateways
        entry: reconciler fmt
        language: python
        additional_dependencies: [mcp-gateway-reconciler]
        files: ^gateways/.*\\.ya?ml$
"""

_CODEOWNERS: Final = """\
# Who is asked to review what. The last line that matches counts; write the teams of your organisation.
# *                      @acme/platform
# /reconciler.yaml       @acme/platform @acme/security
# /keys/                 @acme/security
# /gateways/payments/    @acme/payments
# *.pem                  @acme/security
"""

_EDITOR: Final = """\
{
  "yaml.schemas": {
    "./schemas/gateway.v1.schema.json": "gateways/**/*.yaml",
    "./schemas/config.v1.schema.json": "reconciler.yaml",
    "./schemas/keyring.v1.schema.json": "keys/trusted.yaml"
  }
}
"""

_EDITORCONFIG: Final = """\
root = true

[*]
end_of_line = lf
insert_final_newline = true
charset = utf-8

[*.{yaml,yml,json}]
indent_style = space
indent_size = 2
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
        "reconciler.yaml": _CONFIG.format(owner=owner, key_file=KEY_FILE),
        "keys/trusted.yaml": _KEYRING.format(public_key=public_key),
        "gateways/example.yaml": _EXAMPLE,
        **{f"schemas/{name}": text for name, text in sorted(schemas.items())},
        ".github/workflows/gateways.yml": _WORKFLOW,
        ".github/CODEOWNERS": _CODEOWNERS,
        ".vscode/settings.json": _EDITOR,
        ".editorconfig": _EDITORCONFIG,
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
