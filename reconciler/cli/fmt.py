"""`reconciler fmt`."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from reconciler.cli.options import Voice, Where, settings_of, voice, where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from reconciler.core.layout import Formatted
    from reconciler.core.problems import Problem

_STANDARD_INPUT: Final = Path("-")
_INVALID: Final = 3
_LOOKS: Final = {"+": "green", "-": "red", "@": "cyan"}


@dataclass(frozen=True, slots=True)
class _File:
    """A file and what it becomes. `name` is root-relative; `shown` is what the user may call it."""

    name: str
    shown: str
    before: bytes
    after: bytes


@click.command(
    epilog="""\b
Examples:
  reconciler fmt                 reconciler.yaml and the tree it names, or this directory
  reconciler fmt a.yaml b.yaml   some files (as a pre-commit hook does)
  reconciler fmt --check         write nothing, exit 3 if a file would change (CI)
  reconciler fmt --diff          write nothing, show what would change
  reconciler fmt - < a.yaml      for editors: standard input to standard output
"""
)
@where()
@click.option("--check", is_flag=True, help="Write nothing; name the files that would change, and exit 3.")
@click.option("--diff", is_flag=True, help="Write nothing; show what would change, and exit 3.")
@voice()
def fmt(where: Where, voice: Voice, *, check: bool, diff: bool) -> int:
    """Give manifests their canonical order and layout. Comments stay with what they are about; no meaning changes.

    Documents of other tools are left alone. So are files that cannot be read; what is wrong with them is said, the
    others are formatted, and the exit code is 3.
    """
    if _STANDARD_INPUT in where.paths:
        return _filter(where, voice, check=check, diff=diff)
    root, names = _chosen(where)
    files, problems = _formatted(root, names)
    invalid = _complain(problems, voice)
    changing = [file for file in files if file.after != file.before]
    if diff:
        _show(changing, voice)
    elif check:
        _name(changing, "would format", voice)
    else:
        _rewrite(root, changing)
        _name(changing, "formatted", voice)
    voice.say(_summary(len(files), len(changing), done=not (check or diff)))
    return _INVALID if invalid or (changing and (check or diff)) else 0


def _filter(where: Where, voice: Voice, *, check: bool, diff: bool) -> int:
    """Format standard input to standard output. What has errors is not passed on, so that no editor takes it."""
    from reconciler.core.strict_yaml import SIZE_LIMIT

    if len(where.paths) > 1:
        raise click.UsageError("`-` is standard input, and stands alone")
    before = sys.stdin.buffer.read(SIZE_LIMIT + 1)
    formatted = _formatter()("stdin", before)
    if _complain(formatted.problems, voice):
        return _INVALID
    changes = formatted.data != before
    if diff and changes:
        _show([_File("", "stdin", before, formatted.data)], voice)
    elif not (check or diff):
        sys.stdout.buffer.write(formatted.data)
    return _INVALID if changes and (check or diff) else 0


def _chosen(where: Where) -> tuple[Path, tuple[str, ...]]:
    """Return the root, and what to format below it. Given paths are formatted whatever the config file looks like."""
    from reconciler.settings import config_file
    from reconciler.sources.directory import Directory

    config = config_file(where.paths, where.config)
    if config is not None and where.paths:
        tree = Directory(config.parent)
        return tree.root, tuple(tree.relative(path) for path in where.paths)
    settings = settings_of(where)
    return settings.root, (*settings.paths, *([config.name] if config is not None else []))


def _formatted(root: Path, names: Sequence[str]) -> tuple[list[_File], list[Problem]]:
    """Return every file below `names` and what it becomes, and the problems of reading them."""
    from reconciler.settings import covers
    from reconciler.sources.directory import Directory

    def shown(name: str) -> str:
        return os.path.relpath(root / name)

    snapshot = Directory(root).scan(names)
    problems = [replace(p, location=replace(p.location, file=shown(p.location.file))) for p in snapshot.problems]
    format_file = _formatter()
    files = []
    for name, before in snapshot.files.items():
        if covers(names, name):
            formatted = format_file(shown(name), before)
            files.append(_File(name, shown(name), before, formatted.data))
            problems += formatted.problems
    return files, problems


def _formatter() -> Callable[[str, bytes], Formatted]:
    import json

    from reconciler.core.key_order import key_order
    from reconciler.core.layout import format_manifests
    from reconciler.schema_files import load_schemas

    orders = {kind: key_order(json.loads(text)) for kind, text in load_schemas().texts.items()}
    return lambda file, data: format_manifests(file, data, orders)


def _rewrite(root: Path, files: Iterable[_File]) -> None:
    from reconciler.sources.rewrite import rewrite

    for file in files:
        rewrite(root, file.name, file.after)


def _complain(problems: Iterable[Problem], voice: Voice) -> bool:
    """Say what is wrong, and return whether any of it is an error."""
    from reconciler.core.problems import has_errors, in_order
    from reconciler.reports.problems import as_text

    found = in_order(problems)
    if found:
        click.echo(as_text(found, voice.style), err=True)
    return has_errors(found)


def _name(files: Iterable[_File], doing: str, voice: Voice) -> None:
    from reconciler.core.hostile import printable

    for file in files:
        voice.report(f"{doing} {printable(file.shown)}")


def _show(files: Iterable[_File], voice: Voice) -> None:
    for file in files:
        for line in _difference(file):
            look = _LOOKS.get(line[0])
            voice.report(voice.style(line, look) if look else line)


def _difference(file: _File) -> Iterator[str]:
    """Yield the lines of a unified diff, as `git apply` takes it."""
    from difflib import unified_diff

    from reconciler.core.hostile import printable

    name = printable(file.shown)
    for line in unified_diff(_lines(file.before), _lines(file.after), f"a/{name}", f"b/{name}"):
        yield line.removesuffix("\n")
        if not line.endswith("\n"):
            yield "\\ No newline at end of file"


def _lines(data: bytes) -> list[str]:
    *lines, rest = data.decode().split("\n")
    return [*(f"{line}\n" for line in lines), *([rest] if rest else [])]


def _summary(count: int, changing: int, *, done: bool) -> str:
    from reconciler.reports.style import counted

    if not changing:
        return f"{counted(count, 'file')}, nothing to format."
    return f"{counted(count, 'file')}, {changing:,} {'formatted' if done else 'to format'}."
