"""A person at a terminal: commands typed in a directory of their own, with a clean environment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.cli import run

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


class Terminal:
    """Types `reconciler …` and sees what is printed. `write` makes files below the current directory."""

    def __init__(self, capsys: pytest.CaptureFixture[str], directory: Path) -> None:
        self._capsys = capsys
        self.directory = directory

    def __call__(self, *arguments: str, expect: int = 0) -> Ended:
        self._capsys.readouterr()
        code = run(list(arguments))
        captured = self._capsys.readouterr()
        assert code == expect, f"{arguments} ended with {code}:\n{captured.out}\n{captured.err}"
        return Ended(code, captured.out, captured.err)

    def write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def gateway(self, name: str, **spec: object) -> None:
        """Write `gateways/NAME.yaml` with these fields of `spec`; it is not verified unless that is asked for."""
        given = {"url": f"https://{name}.example/mcp", "transport": "sse", "verify": {"mode": "off"}, **spec}
        document = {"apiVersion": "reconciler/v1", "kind": "Gateway", "metadata": {"name": name}, "spec": given}
        self.write(f"gateways/{name}.yaml", json.dumps(document, indent=2))

    def remove(self, name: str) -> None:
        (self.directory / f"gateways/{name}.yaml").unlink()
