"""Options that several commands share, gathered into values: where the manifests are, and how to talk.

Every option has an environment twin with one prefix, `RECONCILER_`.
"""

from __future__ import annotations

import functools
import json
import os
import shlex
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import click

from reconciler.reports.style import Style

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.settings import Settings

Command = TypeVar("Command", bound="Callable[..., Any]")

_FILE_TYPE: Final = click.Path(path_type=Path)


@dataclass(frozen=True, slots=True)
class Where:
    """Which manifests, which config, which store."""

    paths: tuple[Path, ...] = ()
    config: Path | None = None
    target: str | None = None
    store: str | None = None


@dataclass(frozen=True, slots=True)
class Voice:
    """How to talk: machine formats own standard output, people's words go to standard error."""

    format: str = "text"
    quiet: bool = False
    colour: bool = False
    style: Style = field(default_factory=Style)

    def report(self, text: str) -> None:
        """Print what was asked for."""
        click.echo(text, color=self.colour)

    def document(self, document: object) -> None:
        """Print a value as JSON."""
        click.echo(as_json(document))

    def complain(self, text: str, fix: str = "") -> None:
        """Say what went wrong, quiet or not."""
        click.echo(f"error: {text}", err=True)
        if fix:
            click.echo(f"  fix: {fix}", err=True)

    def say(self, text: str) -> None:
        """Tell the person at the terminal, unless told to be quiet."""
        if not self.quiet:
            click.echo(text, err=True, color=self.colour)


def as_json(document: object) -> str:
    """Return a value as JSON, in ASCII: names from hostile rows and files do nothing to whoever looks at it."""
    return json.dumps(document, indent=2)


def where(*, argument: str = "paths") -> Callable[[Command], Command]:
    """Give a command its manifests, config, target and store as one `Where`.

    Manifests come as the `argument` "paths", as an "option", or as "none" where a command reads no manifests.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def wrapper(*args: Any, paths: tuple[Path, ...] = (), **options: Any) -> Any:
            given = Where(paths, options.pop("config"), options.pop("target"), options.pop("store", None))
            return command(*args, where=given, **options)

        decorated: Any = wrapper
        if argument == "paths":
            decorated = click.argument("paths", nargs=-1, type=_FILE_TYPE, metavar="[PATH]...")(decorated)
        elif argument == "option":
            decorated = click.option("--path", "paths", multiple=True, type=_FILE_TYPE, help="Manifests to read.")(
                decorated
            )
        for option in reversed(_WHERE):
            decorated = option(decorated)
        return cast("Command", decorated)

    return decorate


_WHERE: Final = (
    click.option(
        "--config",
        type=_FILE_TYPE,
        envvar="RECONCILER_CONFIG",
        help="The config file. [default: reconciler.yaml at or above PATH]",
    ),
    click.option("--target", envvar="RECONCILER_TARGET", help="A target named in the config file."),
    click.option(
        "--store",
        metavar="URL",
        envvar="RECONCILER_STORE",
        help="The store, such as sqlite:///gateways.db. [default: the target's]",
    ),
)


def voice(*formats: str) -> Callable[[Command], Command]:
    """Give a command its manner of speaking as one `Voice`; `formats` are the output formats beside text."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def wrapper(*args: Any, output: str, quiet: bool, no_color: bool, **options: Any) -> Any:
            colour = not no_color and output == "text" and _is_terminal()
            return command(*args, voice=Voice(output, quiet, colour, Style(colour)), **options)

        decorated: Any = wrapper
        decorated = click.option(
            "-o",
            "--output",
            type=click.Choice(["text", *formats]),
            default="text",
            envvar="RECONCILER_OUTPUT",
            help="What to print.",
        )(decorated)
        decorated = click.option("-q", "--quiet", is_flag=True, help="No hints and no progress.")(decorated)
        decorated = click.option("--no-color", is_flag=True, help="Plain text (NO_COLOR does the same).")(decorated)
        return cast("Command", decorated)

    return decorate


def output_files(*formats: str) -> Callable[[Command], Command]:
    """Give a command the files it writes besides, as `files`: pairs of a format and a path."""

    def pairs(
        _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
    ) -> tuple[tuple[str, Path], ...]:
        files = [(name, path) for name, _, path in (pair.partition("=") for pair in given)]
        for name, path in files:
            if name not in ("text", *formats) or not path:
                known = ", ".join(("text", *formats))
                raise click.BadParameter(f"`{name}={path}` is not FORMAT=PATH; the formats are {known}")
        return tuple((name, Path(path)) for name, path in files)

    return click.option(
        "--output-file",
        "files",
        metavar="FORMAT=PATH",
        multiple=True,
        callback=pairs,
        help="Write this format to a file as well (repeatable).",
    )


def write_output(path: Path, text: str) -> None:
    """Write a report to a file that was asked for."""
    from reconciler.errors import InputError

    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        fix = "give a path in a directory that exists"
        raise InputError(f"{path} cannot be written: {(error.strerror or '').lower()}", fix=fix) from None


def add_to_summary(environ: Mapping[str, str], text: Callable[[], str]) -> None:
    """Add to the summary of the job, where GitHub Actions has one."""
    if path := environ.get("GITHUB_STEP_SUMMARY"):
        with Path(path).open("a", encoding="utf-8") as summary:
            summary.write(text() + "\n")


def _is_terminal() -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("CLICOLOR_FORCE")) or sys.stdout.isatty()


def settings_of(where: Where) -> Settings:
    """Return the settings for what was given, the store on the command line before that of the config file."""
    from reconciler.settings import load_settings, with_overrides

    return with_overrides(load_settings(where.paths, where.config, where.target), {"store": where.store}, {})


def command_line(where: Where) -> str:
    """Return what leads to the same manifests and store, for the next command in a hint, as a shell reads it."""
    words = [str(path) for path in where.paths]
    if where.config is not None:
        words += ["--config", str(where.config)]
    if where.target is not None:
        words += ["--target", where.target]
    if where.store is not None:
        words += ["--store", where.store]
    return "".join(f" {shlex.quote(word)}" for word in words)


def path_options(where: Where) -> str:
    """Return the same for a command that takes manifests by `--path`."""
    paths = "".join(f" --path {shlex.quote(str(path))}" for path in where.paths)
    return f"{paths}{command_line(replace(where, paths=()))}"
