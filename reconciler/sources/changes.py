"""Which lines a change touches: the working tree against where it left another branch."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from reconciler.sources.git import ask, common_ancestor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Lines = dict[str, tuple[range, ...]]

_HUNK: Final = re.compile(rb"@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_DIFF: Final = (
    "-c", "core.quotePath=false", "diff", "--unified=0", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames",
    "--relative", "--dst-prefix=b/",
)  # fmt: skip
_EVERY_LINE: Final = range(1, 2**31)


def changed_lines(root: Path, reference: str) -> Mapping[str, tuple[range, ...]]:
    """Return the lines of the working tree below `root` that differ from where it left `reference`, by file.

    Paths are relative to `root`, in POSIX form; new files count as a whole. A line that was removed stands for the one
    before it.

    Raises:
        InputError: git is not there, or knows no such revision.
    """
    changed = read_diff(ask(root, *_DIFF, common_ancestor(root, reference), "--").split(b"\n"))
    new = ask(root, "ls-files", "--others", "--exclude-standard", "-z").split(b"\0")
    return {**changed, **{os.fsdecode(name): (_EVERY_LINE,) for name in new if name}}


def read_diff(lines: Iterable[bytes]) -> Lines:
    """Read a patch without context. What it adds and removes is stepped over, whatever it looks like."""
    found: defaultdict[str, list[range]] = defaultdict(list)
    file, body = "", 0
    for line in lines:
        if body:
            body -= not line.startswith(b"\\")
        elif line.startswith((b"diff ", b"+++ ")):
            file = os.fsdecode(line[6:].rstrip(b"\t")) if line.startswith(b"+++ b/") else ""
        elif (hunk := _HUNK.match(line)) is not None:
            removed, start, added = (int(part) if part is not None else 1 for part in hunk.groups())
            body = removed + added
            first = max(start, 1)
            if file:
                found[file].append(range(first, first + max(added, 1)))
    return {file: tuple(ranges) for file, ranges in found.items()}
