"""Pages that were typed: the files that a page shows are written, its commands run, and what they print is compared.

A page tells one story from top to bottom, in an empty directory and one shell:

- a line that is only `` `path`: `` before a fence: the file is written;
- a fence of the language `console`: each line after `$ ` is typed, and the lines until the next one are what comes out,
  on either stream. `…` stands for anything in a line, and alone on a line for any lines;
- `<!-- $ command -->`: typed as well, and not shown; what comes out does not matter.

Commands stand nowhere else: `untyped` finds those that do.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"^`([^`\n]+)`:\n\n?\Z", re.MULTILINE)
_HIDDEN = re.compile(r"^<!-- \$ (.+?) -->$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_INDENTED = re.compile(r"(?<=\n\n)(?: {4,}.*\n)+")
_LISTED = re.compile(r"(?:[-*]|\d+\.) ")
_SHELLS = {"", "bash", "sh", "shell"}
_SECONDS = 100

PERSON = {
    "GIT_CONFIG_COUNT": "3",
    "GIT_CONFIG_KEY_0": "user.name",
    "GIT_CONFIG_VALUE_0": "Ada",
    "GIT_CONFIG_KEY_1": "user.email",
    "GIT_CONFIG_VALUE_1": "ada@example.com",
    "GIT_CONFIG_KEY_2": "init.defaultBranch",
    "GIT_CONFIG_VALUE_2": "main",
    "USER": "ada",
    "LOGNAME": "ada",
    "PIP_NO_INDEX": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
"""Ada's environment. The packages that she installs are there already: nothing is fetched."""


@dataclass(frozen=True, slots=True)
class Written:
    """A file that the page shows."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Typed:
    """A command, and what it prints; None: that does not matter."""

    line: int
    command: str
    printed: str | None


def sections(page: str) -> dict[str, str]:
    """Return the text below each heading, by the heading; what stands above the first one belongs to the empty text."""
    fences = [match.span() for match in _FENCE.finditer(page)]
    headings = [
        match for match in _HEADING.finditer(page) if not any(begin < match.start() < end for begin, end in fences)
    ]
    ends = [*(match.start() for match in headings[1:]), len(page)]
    told = {match[1]: page[match.start() : end] for match, end in zip(headings, ends, strict=True)}
    return {"": page[: headings[0].start()] if headings else page, **told}


def has_console(text: str) -> bool:
    """Return whether commands are typed in this text."""
    return any(match[1] == "console" for match in _FENCE.finditer(text))


def untyped(page: str) -> list[str]:
    """Return the first line of each block that looks like commands and would not be typed."""
    found = [match[2] for match in _FENCE.finditer(page) if match[1] in _SHELLS or _typed_as_text(match)]
    prose = _FENCE.sub("\n", page)
    indented = [match for match in _INDENTED.finditer(prose) if not _is_listed(prose[: match.start()])]
    return [text.strip().partition("\n")[0] for text in [*found, *(match[0] for match in indented)]]


def _typed_as_text(fence: re.Match[str]) -> bool:
    return fence[1] == "text" and re.search(r"^\$ ", fence[2], re.MULTILINE) is not None


def _is_listed(before: str) -> bool:
    """Return whether what follows belongs to an item of a list."""
    block = before.rstrip("\n").rpartition("\n\n")[2]
    return _LISTED.match(block.lstrip()) is not None


def steps(page: str) -> Iterator[Written | Typed]:
    """Yield what has to be done, in the order of the page."""
    found = [*_FENCE.finditer(page), *_HIDDEN.finditer(page)]
    for match in sorted(found, key=re.Match.start):
        line = page.count("\n", 0, match.start()) + 1
        if match.re is _HIDDEN:
            yield Typed(line, match[1], None)
        elif match[1] == "console":
            yield from _typed(match[2], line)
        elif name := _NAMED.search(page, 0, match.start()):
            yield Written(name[1], match[2])


def _typed(block: str, line: int) -> Iterator[Typed]:
    commands = list(re.finditer(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE))
    for each in commands:
        yield Typed(line + 1 + block.count("\n", 0, each.start()), each[1], each[2])


def follow(
    page: str, directory: Path, environ: Mapping[str, str], programs: Path = Path(sys.executable).parent
) -> list[str]:
    """Do what a page says in an empty directory, and return each difference from what it shows."""
    told = list(steps(page))
    out = directory.with_name(f"{directory.name}.out")
    out.mkdir()
    script = "\n".join(_said(number, step, out) for number, step in enumerate(told))
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "-c", script],
        cwd=directory,
        env={"PATH": path, "HOME": str(out), "LC_ALL": "C.UTF-8", **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert not ended.stderr, ended.stderr
    typed = [(step, (out / str(number)).read_text()) for number, step in enumerate(told) if isinstance(step, Typed)]
    return [_difference(step, printed) for step, printed in typed if not _is_as_told(step.printed, printed)]


def _said(number: int, step: Written | Typed, out: Path) -> str:
    if isinstance(step, Typed):
        return f"{{ {step.command}\n}} > {out}/{number} 2>&1"
    return f"mkdir -p \"$(dirname '{step.path}')\"\ncat > '{step.path}' <<'END OF FILE'\n{step.text}END OF FILE"


def _is_as_told(told: str | None, printed: str) -> bool:
    if told is None:
        return True
    lines = ("(?:.*\n)*" if line == "…" else _pattern(line) + "\n" for line in told.splitlines())
    return re.fullmatch("".join(lines), re.sub(r"[ \t]+$", "", printed, flags=re.MULTILINE)) is not None


def _pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.split("…"))


def _difference(step: Typed, printed: str) -> str:
    return f"line {step.line}: {step.command}\n{printed}"
