"""The stage of the demonstration: a directory, the servers, and commands that are shown as they are typed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.reports.style import Style


@dataclass(slots=True)
class Stage:
    """Where the story plays. `echo` prints a line for the person watching."""

    directory: Path
    style: Style
    echo: Callable[[str], None]
    chapter: int = field(default=0)

    @property
    def repository(self) -> Path:
        """The git repository of manifests."""
        return self.directory / "gateways-repo"

    def title(self, text: str) -> None:
        """Begin a chapter."""
        self.chapter += 1
        self.echo("")
        self.echo(
            self.style(f"━━ {self.chapter}. {text} ", "bold", "cyan") + self.style("━" * (70 - len(text)), "cyan")
        )

    def tell(self, text: str) -> None:
        """Say what happens."""
        self.echo(self.style(text, "dim"))

    def reconciler(self, *arguments: str, expect: int = 0) -> None:
        """Run a command of ours, shown as typed, and insist on its exit code."""
        self._run(["reconciler", *arguments], [sys.executable, "-m", "reconciler", *arguments], expect)

    def git(self, *arguments: str, quiet: bool = False) -> None:
        """Run git in the repository."""
        identity = ["-c", "user.name=Demo", "-c", "user.email=demo@example.com", "-c", "commit.gpgsign=false"]
        command = ["git", *identity, "-C", str(self.repository), *arguments]
        if quiet:
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own words
        else:
            self._run(["git", *arguments], command, 0)

    def commit(self, message: str) -> None:
        """Commit everything, as a merged pull request would."""
        self.git("add", "--all", quiet=True)
        self.git("commit", "--quiet", "--message", message)

    def write(self, name: str, text: str) -> None:
        """Write a file of the repository."""
        path = self.repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.rstrip() + "\n", encoding="utf-8")

    def _environment(self) -> dict[str, str]:
        """Return an environment without anything of the user's that would change the story, or be changed by it."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("RECONCILER_", "ED25519_"))}
        colour = {"CLICOLOR_FORCE": "1"} if self.style.colour else {}
        return {**ours, **colour, "RECONCILER_CACHE_DIR": str(self.directory / "cache")}

    def _run(self, shown: list[str], command: list[str], expect: int) -> None:
        self.echo("")
        self.echo(f"{self.style('$', 'green', 'bold')} {self.style(' '.join(map(_quoted, shown)), 'bold')}")
        ended = subprocess.run(  # noqa: S603 - our own words
            command,
            cwd=self.directory,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        for line in ended.stdout.rstrip().splitlines():
            self.echo(f"  {line}")
        if expect:
            self.tell(f"  (exit code {ended.returncode})")
        if ended.returncode != expect:
            raise ReconcilerError(
                f"`{' '.join(shown)}` ended with {ended.returncode}, and the story expected {expect}",
                fix="this is a bug in the demonstration or in what it shows: please report it",
            )


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word else word
