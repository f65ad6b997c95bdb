"""How commands look at upstreams: from where, and with a bar on a terminal or now and then a line elsewhere."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from reconciler.cli.options import Voice
    from reconciler.core.model import Gateway, VerifyPolicy
    from reconciler.core.observation import Observation
    from reconciler.core.routes import Resolved

Command = TypeVar("Command", bound="Callable[..., Any]")

_LINES_FROM: Final = 100
_LINES: Final = 10


def _read(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> Resolved:
    from reconciler.core.routes import parse_resolve

    try:
        return tuple(parse_resolve(text) for text in given)
    except ValueError as error:
        raise click.BadParameter(f"{error}.", context, option) from None


def vantage(command: Command) -> Command:
    """Give a command that looks at upstreams the addresses to call in place of what the DNS says, as `resolved`."""

    @functools.wraps(command)
    def wrapper(*args: Any, resolved: Resolved, **options: Any) -> Any:
        return command(*args, resolved=resolved, **options)

    option = click.option(
        "--resolve",
        "resolved",
        multiple=True,
        metavar="HOST:PORT:ADDRESS",
        callback=_read,
        help="Call ADDRESS for HOST and PORT, past DNS and proxies (repeatable).",
    )
    return cast("Command", option(wrapper))


@dataclass(frozen=True, slots=True)
class ProgressProber:
    """Probes, and tells on standard error how far it is."""

    voice: Voice
    environ: Mapping[str, str]
    now: datetime
    resolved: Resolved = ()
    keep_definitions: bool = False

    def __call__(self, subjects: Sequence[tuple[Gateway, VerifyPolicy]]) -> list[Observation]:
        """Return one observation per subject, in order."""
        if not subjects:
            return []
        if self.voice.quiet or not sys.stderr.isatty():
            return self._probe(subjects, self._by_lines(len(subjects)))
        with click.progressbar(
            length=len(subjects), label="verifying upstreams", file=sys.stderr, show_pos=True
        ) as bar:
            return self._probe(subjects, lambda _: bar.update(1))

    def _probe(
        self, subjects: Sequence[tuple[Gateway, VerifyPolicy]], on_done: Callable[[Observation], None]
    ) -> list[Observation]:
        from reconciler.prober import UpstreamProber

        prober = UpstreamProber(
            self.environ, self.now, on_done, resolved=self.resolved, keep_definitions=self.keep_definitions
        )
        return prober(subjects)

    def _by_lines(self, total: int) -> Callable[[Observation], None]:
        """Return what says a line at every tenth of many: a log of a thousand upstreams is not silent for a minute."""
        step = total // _LINES if total >= _LINES_FROM else total + 1
        done = 0

        def count(_: Observation) -> None:
            nonlocal done
            done += 1
            if done % step == 0:
                self.voice.say(f"verifying upstreams: {done} of {total}")

        return count
