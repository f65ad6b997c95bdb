"""A prober that shows how far it is: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from reconciler.cli.options import Voice
    from reconciler.core.model import Gateway, VerifyPolicy
    from reconciler.core.observation import Observation


@dataclass(frozen=True, slots=True)
class ProgressProber:
    """Probes, and moves a bar on standard error when a person is watching."""

    voice: Voice
    environ: Mapping[str, str]
    now: datetime

    def __call__(self, subjects: Sequence[tuple[Gateway, VerifyPolicy]]) -> list[Observation]:
        """Return one observation per subject, in order."""
        from reconciler.prober import UpstreamProber

        with click.progressbar(
            length=len(subjects),
            label="verifying upstreams",
            file=sys.stderr,
            hidden=self.voice.quiet or not subjects or not sys.stderr.isatty(),
        ) as bar:
            return UpstreamProber(self.environ, self.now, lambda _: bar.update(1))(subjects)
