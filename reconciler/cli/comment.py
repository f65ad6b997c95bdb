"""`reconciler comment`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from reconciler.cli.options import Voice, voice

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKEN: Final = "RECONCILER_COMMENT_TOKEN"  # noqa: S105 - the name of a variable
_LARGEST: Final = 4 * 1024 * 1024


@click.command(
    epilog="""\b
Examples:
  reconciler plan --base origin/main -o markdown > plan.md
  reconciler comment plan.md                      on the pull request that this CI job is for
  reconciler comment plan.md --commit "$HEAD"     on the one that ends with this commit
"""
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--pull-request", type=click.IntRange(1), metavar="NUMBER", help="Which one. [default: the job's]")
@click.option("--commit", metavar="SHA", help="The open pull request whose last commit this is (GitHub).")
@click.option("--only-update", is_flag=True, help="Write no new comment; only change one that is there.")
@voice("json")
def comment(file: Path, voice: Voice, *, pull_request: int | None, commit: str | None, only_update: bool) -> int:
    """Put a plan on a pull request (GitHub) or merge request (GitLab), as one comment that is updated in place.

    The token comes from RECONCILER_COMMENT_TOKEN, or the file that RECONCILER_COMMENT_TOKEN_FILE names. It needs
    `pull-requests: write` on GitHub, and the scope `api` on GitLab.
    """
    from reconciler.commenting import conversation, publish, reports_in

    with file.open("rb") as opened:
        reports = reports_in(opened.read(_LARGEST).decode(errors="replace"))
    place = conversation(os.environ, _token(os.environ), number=pull_request, commit=commit)
    done = [publish(place, report, only_update=only_update) for report in reports]
    if voice.format == "json":
        voice.document({"format_version": "1.0", "comments": done})
    else:
        voice.report(f"Comment {', '.join(done)}.")
    return 0


def _token(environ: Mapping[str, str]) -> str:
    from reconciler.core.model import SecretReference
    from reconciler.credentials import resolve

    file = environ.get(f"{_TOKEN}_FILE")
    return resolve(SecretReference("file", file) if file else SecretReference("env", _TOKEN), environ)
