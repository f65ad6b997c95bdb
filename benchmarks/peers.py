"""The tools that a user would pick instead, on the same files in the same run, where they are installed.

`make bench` installs them. One that is missing is named, with how to get it; nothing else depends on it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.measuring import Candidate, command

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT: Final = Path(__file__).parents[1]
SCHEMA: Final = ROOT / "schemas" / "gateway.v1.schema.json"
_PLACES: Final = (Path(sys.executable).parent, ROOT / ".venv" / "peers" / "node_modules" / ".bin")

CHECK_JSONSCHEMA: Final = "check-jsonschema (schema only)"
YAMLLINT: Final = "yamllint (syntax and style only)"
AJV: Final = "ajv-cli (schema only)"
KUBECONFORM: Final = "kubeconform (schema only)"
OCTODNS: Final = "octoDNS, plan without changes, as many zones"


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool that does part of a job: which one, how to get it, and the command for the manifests of a tree."""

    job: str
    beside: str
    program: str
    to_get_it: str
    words: Callable[[Path], Sequence[str]]

    def path(self) -> str | None:
        """Return where the program is."""
        places = os.pathsep.join([*map(str, _PLACES), os.environ.get("PATH", "")])
        return shutil.which(self.program, path=places)


def _files(tree: Path) -> list[str]:
    return [str(path) for path in sorted(tree.glob("0*/*.yaml"))]


def _without_lookaheads(tree: Path) -> str:
    """Write the schema as Go can read it: its regular expressions know no looking ahead, and two patterns do."""
    file = tree.parent / "schema-for-go.json"
    file.write_text(re.sub(r"\(\?[=!][^)]*\)", "", SCHEMA.read_text()))
    return str(file)


def _zones(tree: Path) -> Sequence[str]:
    """Write a zone of four records for each manifest; octoDNS's own YAML provider is the source and the target."""
    directory = tree.parent / f"zones-{tree.name}"
    config = directory / "octodns.yaml"
    if not config.exists():
        (directory / "zones").mkdir(parents=True)
        for number, file in enumerate(_files(tree)):
            zone = directory / "zones" / f"{Path(file).stem}.internal.example.yaml"
            zone.write_text(
                _ZONE.format(number=number, address=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
            )
        config.write_text(_OCTODNS.format(directory=directory))
    return ["--config-file", str(config)]


_OCTODNS = """providers:
  git: {{class: octodns.provider.yaml.YamlProvider, directory: {directory}/zones}}
  live: {{class: octodns.provider.yaml.YamlProvider, directory: {directory}/zones}}
zones:
  '*': {{sources: [git], targets: [live]}}
"""

_ZONE = """---
'':
- ttl: 300
  type: A
  value: {address}
- ttl: 300
  type: TXT
  value: Tools of a team, number {number}
mcp:
  ttl: 300
  type: A
  value: {address}
www:
  ttl: 300
  type: CNAME
  value: mcp.internal.example.
"""

PEERS: Final = (
    Peer(
        CHECK_JSONSCHEMA,
        "validate",
        "check-jsonschema",
        "pip install check-jsonschema",
        lambda tree: ["--schemafile", str(SCHEMA), *_files(tree)],
    ),
    Peer(YAMLLINT, "validate", "yamllint", "pip install yamllint", lambda tree: ["-d", "relaxed", *_files(tree)]),
    Peer(
        AJV,
        "validate",
        "ajv",
        "npm install --no-save --prefix .venv/peers ajv-cli@5.0.0",
        lambda tree: ["validate", "--spec=draft2020", "--strict=false", "-s", str(SCHEMA), "-d", f"{tree}/0*/*.yaml"],
    ),
    Peer(
        KUBECONFORM,
        "validate",
        "kubeconform",
        "GOBIN=$PWD/.venv/bin go install github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0",
        lambda tree: ["-strict", "-schema-location", _without_lookaheads(tree), *map(str, sorted(tree.glob("0*")))],
    ),
    Peer(OCTODNS, "plan", "octodns-sync", "pip install octodns", _zones),
)


def candidates(beside: str, tree: Path, environment: Mapping[str, str]) -> list[Candidate]:
    """Return those of a job that are installed."""
    return [
        _candidate([path, *peer.words(tree)], peer.job, environment)
        for peer in PEERS
        if peer.beside == beside and (path := peer.path())
    ]


def missing() -> dict[str, str]:
    """Return those that are not installed, and how to get each."""
    return {peer.job: peer.to_get_it for peer in PEERS if not peer.path()}


def _candidate(words: Sequence[str], job: str, environment: Mapping[str, str]) -> Candidate:
    return Candidate(job, lambda: command(words, environment)[0])
