"""Runs a job of a GitHub workflow, or a composite action, on this machine: its `run` steps, in order, in bash.

Only what our own files use of the expression language is understood. Steps that use an action are told, not run: a
checkout is what the test has made already.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")
_TOKEN = re.compile(r"\s*(\|\||&&|==|!=|!|'[^']*'|[\w.-]+|\(|\))")


@dataclass
class Runner:
    """A machine with a checkout in `workspace`; `contexts` are what expressions see, such as `github`."""

    workspace: Path
    temporary: Path
    contexts: dict[str, Any]
    environ: Mapping[str, str] = field(default_factory=dict)
    printed: str = ""
    used: list[str] = field(default_factory=list)

    def run(self, steps: Iterable[Mapping[str, Any]], *, leave_out: Iterable[str] = ()) -> int:
        """Run the steps until one fails, and return its exit code, or 0."""
        for step in steps:
            if step.get("name", "") in leave_out or not self._holds(step.get("if", "true")):
                continue
            if "uses" in step:
                self.used.append(step["uses"])
            elif code := self._run(step):
                return code
        return 0

    @property
    def summary(self) -> str:
        """What the job's summary says."""
        path = self.temporary / "summary"
        return path.read_text() if path.exists() else ""

    def value(self, text: str) -> str:
        """Return a text with its expressions replaced by what they say."""
        return _EXPRESSION.sub(lambda found: _shown(self._evaluate(found[1])), str(text))

    def _run(self, step: Mapping[str, Any]) -> int:
        output = self.temporary / "output"
        output.write_text("")
        files = {"GITHUB_OUTPUT": output, "GITHUB_PATH": self.temporary / "path"}
        ended = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", self.value(step["run"])],
            cwd=self.workspace / step.get("working-directory", "."),
            env={
                "HOME": str(self.temporary),
                "LC_ALL": "C.UTF-8",
                "RUNNER_TEMP": str(self.temporary),
                "GITHUB_STEP_SUMMARY": str(self.temporary / "summary"),
                **{name: str(path) for name, path in files.items()},
                "PATH": self._path(files["GITHUB_PATH"]),
                **self.environ,
                **{name: self.value(text) for name, text in step.get("env", {}).items()},
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        self.printed += ended.stdout + ended.stderr
        pairs = (line.partition("=") for line in output.read_text().splitlines())
        outputs = {name: text for name, _, text in pairs}
        self.contexts.setdefault("steps", {})[step.get("id", "")] = {"outputs": outputs}
        return ended.returncode

    def _path(self, added: Path) -> str:
        new = added.read_text().split() if added.exists() else []
        return os.pathsep.join([*new, str(Path(sys.executable).parent), os.environ["PATH"]])

    def _holds(self, condition: str) -> bool:
        return bool(self._evaluate(_EXPRESSION.sub(lambda found: found[1], str(condition))))

    def _evaluate(self, expression: str) -> Any:
        tokens = _TOKEN.findall(expression)
        value = self._either(tokens)
        assert not tokens, f"not understood: {expression}"
        return value

    def _either(self, tokens: list[str]) -> Any:
        value = self._both(tokens)
        while tokens and tokens[0] == "||":
            tokens.pop(0)
            other = self._both(tokens)
            value = value or other
        return value

    def _both(self, tokens: list[str]) -> Any:
        value = self._equal(tokens)
        while tokens and tokens[0] == "&&":
            tokens.pop(0)
            other = self._equal(tokens)
            value = value and other
        return value

    def _equal(self, tokens: list[str]) -> Any:
        value = self._one(tokens)
        if tokens and tokens[0] in ("==", "!="):
            same = tokens.pop(0) == "=="
            return (_shown(value) == _shown(self._one(tokens))) is same
        return value

    def _one(self, tokens: list[str]) -> Any:
        word = tokens.pop(0)
        if word.startswith("'"):
            return word[1:-1]
        if word in ("true", "false"):
            return word == "true"
        if word == "!":
            return not self._one(tokens)
        if tokens[:2] == ["(", ")"]:
            del tokens[:2]
            return {"always": True, "cancelled": False}[word]
        value: Any = self.contexts
        for name in word.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return value


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def load(path: Path) -> Any:
    """Return a workflow or an action; the word `on` stays a word."""
    return yaml.load(path.read_text(), yaml.BaseLoader)  # noqa: S506 - it makes strings only
