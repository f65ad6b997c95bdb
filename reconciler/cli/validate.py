"""`reconciler validate`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from reconciler.cli.options import (
    Voice,
    Where,
    add_to_summary,
    as_json,
    command_line,
    output_files,
    settings_of,
    voice,
    where,
    write_output,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.core.problems import Problem
    from reconciler.reports.validation import Validation
    from reconciler.settings import Settings

FORMATS: Final = ("json", "sarif", "github", "junit", "codequality")

_FOR_PLATFORMS: Final = ("sarif", "github", "junit", "codequality")
"""Read by what knows the whole repository: their paths begin at its top, wherever the config file is."""

_COUNTED: Final = {"error": ("error",), "warning": ("error", "warning"), "info": ("error", "warning", "info")}


@click.command(
    epilog="""\b
Examples:
  reconciler validate                    the tree named in reconciler.yaml, or this directory
  reconciler validate gateways/          a directory
  reconciler validate a.yaml b.yaml      some files, by themselves
  reconciler validate -o json | jq .     for machines
  reconciler validate -o github --changed-since origin/main --output-file sarif=reconciler.sarif
"""
)
@where()
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "info", "never"]),
    default="error",
    envvar="RECONCILER_FAIL_ON",
    help="The least severity that makes the exit code 3. [default: error]",
)
@click.option("--strict", is_flag=True, envvar="RECONCILER_STRICT", help="The same as --fail-on warning.")
@click.option(
    "--changed-since",
    metavar="REF",
    envvar="RECONCILER_CHANGED_SINCE",
    help="Put problems on lines that differ from this git revision first.",
)
@output_files(*FORMATS)
@voice(*FORMATS)
def validate(
    where: Where,
    voice: Voice,
    *,
    fail_on: str,
    strict: bool,
    changed_since: str | None,
    files: tuple[tuple[str, Path], ...],
) -> int:
    """Check manifests and the PEM files they name: schema, references, certificates. Offline, without credentials.

    Every problem of every file is reported in one run, with its line, column and fix. Exit 3 when there is an error.
    """
    validation, root = _validated(where, changed_since)
    for name, path in files:
        write_output(path, _SHOWN[name](_seen(validation, root, name), Voice()))
    voice.report(_SHOWN[voice.format](_seen(validation, root, voice.format), voice))
    if voice.format == "github":
        _summarize(_seen(validation, root, "github"))
    counted = _COUNTED.get("warning" if strict and fail_on == "error" else fail_on, ())
    if any(problem.severity.value in counted for problem in validation.problems):
        return 3
    voice.say(f"Next: reconciler plan{command_line(where)}")
    return 0


def _validated(where: Where, changed_since: str | None) -> tuple[Validation, Path]:
    """Return what was found, and the directory that its paths are relative to."""
    from reconciler.clock import now
    from reconciler.composition import validate_tree
    from reconciler.core.problems import ProblemsError
    from reconciler.reports.validation import Validation
    from reconciler.settings import config_file

    try:
        settings = settings_of(where)
    except ProblemsError as error:
        found = config_file(where.paths, where.config)
        if found is None:
            raise
        return Validation(error.problems, files=(found.name,)), found.parent
    validation = validate_tree(settings, now())
    if changed_since is not None:
        validation = replace(validation, changed=_changed(settings, changed_since))
    return validation, settings.root


def _changed(settings: Settings, reference: str) -> Mapping[str, tuple[range, ...]]:
    from reconciler.sources.changes import changed_lines

    return changed_lines(settings.root, reference)


def _seen(validation: Validation, root: Path, format_name: str) -> Validation:
    """Return what was found with its paths as the reader of a format sees them."""
    from reconciler.settings import repository_top

    here = Path.cwd()
    if format_name in _FOR_PLATFORMS:
        start = repository_top(root)
    elif format_name == "text" and (here in root.parents or root in here.parents):
        start = here
    else:
        start = root
    return validation if start == root else _moved(validation, lambda file: os.path.relpath(root / file, start))


def _moved(validation: Validation, move: Callable[[str], str]) -> Validation:
    def moved(problem: Problem) -> Problem:
        return replace(problem, location=replace(problem.location, file=move(problem.location.file)))

    changed = validation.changed
    return replace(
        validation,
        problems=[moved(each) for each in validation.problems],
        suppressed=[replace(each, problem=moved(each.problem)) for each in validation.suppressed],
        files=[move(file) for file in validation.files],
        changed=None if changed is None else {move(file): lines for file, lines in changed.items()},
    )


def _summarize(validation: Validation) -> None:
    """Add everything that was found to the job's summary, where GitHub Actions has one."""
    from reconciler.reports.github import as_step_summary

    add_to_summary(os.environ, lambda: as_step_summary(validation))


def _text(validation: Validation, voice: Voice) -> str:
    from reconciler.reports.problems import as_text, tally

    lines = [as_text(validation.problems, voice.style)] if validation.problems else []
    return "\n".join((*lines, tally(validation)))


def _json(validation: Validation, _voice: Voice) -> str:
    from reconciler.reports.problems import as_document

    return as_json(as_document(validation))


def _sarif(validation: Validation, _voice: Voice) -> str:
    from reconciler.core.rules import rules
    from reconciler.reports.sarif import as_sarif
    from reconciler.version import __version__

    known = {rule.code: rule for chapter in rules().values() for rule in chapter}
    return as_json(as_sarif(validation, version=__version__, rules=known))


def _github(validation: Validation, _voice: Voice) -> str:
    from reconciler.reports.github import as_annotations

    return as_annotations(validation)


def _junit(validation: Validation, _voice: Voice) -> str:
    from reconciler.reports.junit import as_junit

    return as_junit(validation)


def _code_quality(validation: Validation, _voice: Voice) -> str:
    from reconciler.reports.codequality import as_code_quality

    return as_json(as_code_quality(validation))


_SHOWN: Final[Mapping[str, Callable[[Validation, Voice], str]]] = {
    "text": _text,
    "json": _json,
    "sarif": _sarif,
    "github": _github,
    "junit": _junit,
    "codequality": _code_quality,
}
