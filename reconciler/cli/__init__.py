"""The command line. Thin: options in, library calls, reports out. The only composition root of a user's run.

Commands are loaded when they are called, so that `--help` pays for click alone.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from typing import Any, Final

import click

from reconciler.errors import ReconcilerError
from reconciler.version import __version__

USAGE: Final = 64
INTERRUPTED: Final = 130

_COMMANDS: Final = {
    "init": ("reconciler.cli.init:init", "Make a first repository: config, key, example, CI, pre-commit."),
    "validate": ("reconciler.cli.validate:validate", "Check manifests and CA files. Offline, no credentials."),
    "fmt": ("reconciler.cli.fmt:fmt", "Canonical order and layout; keeps comments."),
    "explain": ("reconciler.cli.explain:explain", "What a field, a problem or a gateway's values mean."),
    "plan": ("reconciler.cli.plan:plan", "Show what an apply would do, and why."),
    "comment": ("reconciler.cli.comment:comment", "Put a plan on a pull request, updated in place."),
    "apply": ("reconciler.cli.apply:apply", "Make the store what git says, then verify the upstreams."),
    "adopt": ("reconciler.cli.apply:adopt", "Take ownership of live gateways that nobody owns."),
    "verify": ("reconciler.cli.verify:verify", "Prove that upstreams answer over TLS and MCP."),
    "lock": ("reconciler.cli.lock:lock", "Write down the tools of an upstream, as they were reviewed."),
    "call": ("reconciler.cli.call:call", "Call a tool of an upstream, trusting what the store says."),
    "watch": ("reconciler.cli.watch:watch", "Keep the store as git says, for as long as it runs."),
    "drift": ("reconciler.cli.drift:drift", "Show what somebody changed in the store since it was applied."),
    "status": ("reconciler.cli.status:status", "Show conditions, expiry, and what was applied last."),
    "dump": ("reconciler.cli.dump:dump", "Write manifests and PEM files from a store."),
    "history": ("reconciler.cli.history:history", "Show what was applied, by whom, from which revision."),
    "rollback": ("reconciler.cli.history:rollback", "Bring back what an apply changed."),
    "ca": ("reconciler.cli.ca:ca", "Look into PEM files, and make the canonical bundle."),
    "keys": ("reconciler.cli.keys:keys", "Make and rotate signing keys; check what a store holds."),
    "demo": ("reconciler.cli.demo:demo", "The whole story in a minute, on this machine."),
}

EXIT_CODES: Final = {
    0: ("done, in sync", "Nothing."),
    1: ("operational error", "A store, a key, a file or a server could not be had: the message says which. Try again."),
    2: ("changes", "It worked, and there are some. Only with `--detailed-exitcode`, and of `lock --check`."),
    3: ("invalid input", "Manifests, PEM files, settings or words are wrong: each with its place and its fix."),
    4: ("refused by a guard", "Nothing was written. The message has the figures, and the way past if it is meant."),
    5: ("applied in part", "Some were written, others not. The next apply finishes the job."),
    6: ("verification failed", "Written, or held: an upstream does not answer as promised. The message says why."),
    USAGE: ("usage", "No such command or option: see `--help`."),
    75: ("busy", "Somebody else writes, or has the right to. Nothing was written; try again."),
    INTERRUPTED: ("interrupted", "By Ctrl-C. What was not finished, the next apply finishes."),
}
"""What every command may end with: the name, and what to do about it. `docs/exit-codes.md` is made from it."""

_CODES: Final = "\n".join(f"  {code:>3}  {name}" for code, (name, _) in EXIT_CODES.items())
_EPILOG: Final = f"""\b
A first minute:
  reconciler init gateways-repo
  reconciler validate gateways-repo
  reconciler plan gateways-repo
  reconciler apply gateways-repo

\b
Shell completion (bash; zsh and fish likewise):
  eval "$(_RECONCILER_COMPLETE=bash_source reconciler)"

\b
Exit codes:
{_CODES}
"""


class Commands(click.Group):
    """A group whose commands are imported when they run. Their short help stands in the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order a user meets them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return the command."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the table without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in _COMMANDS.items()])


@click.group(cls=Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="reconciler")
def cli() -> None:
    """Keep an MCP gateway platform as git says: reviewed manifests and private CA bundles in, signed and verified
    gateways out.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    # One command is one short process: collecting cycles among values that live until its end costs a fifth of it.
    gc.disable()
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; errors are said on standard error."""
    try:
        result: Any = cli.main(arguments, prog_name="reconciler", standalone_mode=False)
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return USAGE
    except ReconcilerError as error:
        _explain(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return 1
    return result if isinstance(result, int) else 0


def _explain(error: ReconcilerError) -> None:
    from reconciler.cli.options import Voice

    problems = getattr(error, "problems", ())
    if problems:
        from reconciler.reports.problems import as_text

        click.echo(as_text(problems), err=True)
        return
    Voice().complain(str(error), error.fix)
