"""`reconciler dump`."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from reconciler.cli.options import Voice, Where, command_line, path_options, settings_of, voice, where
from reconciler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.core.export import Export
    from reconciler.core.model import LiveState
    from reconciler.settings import Settings

_PARTLY: Final = 5
_NOTHING: Final = 1
_FILES_SHOWN: Final = 40
_NAMES_SHOWN: Final = 20
_SCHEMA: Final = "schemas/gateway.v1.schema.json"


@dataclass(frozen=True, slots=True)
class _Dump:
    """Where to, by whose settings, what was found in the store, and what is made of the part that is wanted."""

    directory: Path
    settings: Settings
    live: LiveState
    wanted: LiveState
    export: Export


@click.command(
    epilog="""\b
Examples:
  reconciler dump gateways --store sqlite:///gateways.db   what nobody else owns becomes a tree
  reconciler dump fleet --owner platform                   as if we were platform
  reconciler dump everything --all                         whoever owns it
"""
)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@where(argument="none")
@click.option("--owner", metavar="NAME", help="Whose gateways, beside those of nobody. [default: ours]")
@click.option("--all", "everything", is_flag=True, help="What other owners hold, too.")
@voice()
def dump(directory: Path, where: Where, voice: Voice, *, owner: str | None, everything: bool) -> int:
    """Write what a store holds as manifests and PEM files, so that a plan of them finds nothing to do.

    DIR is made; if it exists it has to be empty. All is written, or nothing, and the store is only read. Credentials
    are not in it: what the store refers to is referred to, and where it does not say there is a place to fill in.
    Labels and `verify` are in no store, and so in no dump.

    Exit 5: some gateways could not be described, and were left out; 1: none could.
    """
    if owner is not None and everything:
        raise click.UsageError("--owner and --all cannot stand together")
    target = _free(directory)
    settings = settings_of(replace(where, paths=(directory,)))
    _refuse_defaults_above(target, settings.root)
    dumped = _read(target, settings, owner=owner, everything=everything)
    if dumped.export.written:
        _write(target, dumped.export.files)
    _report(dumped, directory, voice)
    _advise(dumped, replace(where, paths=(directory,)), voice)
    if dumped.export.left_out:
        return _PARTLY if dumped.export.written else _NOTHING
    return 0


def _free(directory: Path) -> Path:
    """Return the directory without links, once it is sure that there is nothing in the way."""
    fix = "choose a new directory; nothing was written"
    try:
        target = directory.resolve()
        if target.is_dir() and any(target.iterdir()):
            raise InputError(f"{directory} is not empty, and a dump overwrites nothing", fix=fix)
        if target.exists() and not target.is_dir():
            raise InputError(f"{directory} is a file", fix=fix)
        if target == Path.cwd():
            raise InputError("this directory cannot be replaced while you are in it", fix=fix)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{directory} cannot be used: {error}", fix=fix) from None
    return target


def _refuse_defaults_above(target: Path, root: Path) -> None:
    """Make sure that nobody's Defaults set what is left out here because it is so by default."""
    for above in _above(target, root):
        if (above / "defaults.yaml").exists():
            fix = "choose a directory without Defaults above it; nothing was written"
            raise InputError(f"the Defaults of {above / 'defaults.yaml'} would change what is written there", fix=fix)


def _above(target: Path, root: Path) -> Iterable[Path]:
    """Return the directories above, the nearest first, as far as the root of the repository."""
    return [above for above in target.parents if above.is_relative_to(root)]


def _modeline(target: Path, root: Path) -> str:
    """Return where an editor finds the schema, if the repository has it."""
    for depth, above in enumerate(_above(target, root), start=1):
        if (above / _SCHEMA).is_file():
            return f"yaml-language-server: $schema={'../' * depth}{_SCHEMA}"
    return ""


def _read(target: Path, settings: Settings, *, owner: str | None, everything: bool) -> _Dump:
    from reconciler.clock import now
    from reconciler.composition import build_engine
    from reconciler.core.export import Context, export, held_by
    from reconciler.schema_files import load_schemas
    from reconciler.settings import shown_store

    place = shown_store(settings.target.store)
    with build_engine(settings, os.environ, write=False) as engine:
        live = engine.store.read()
    wanted = live if everything else held_by(live, owner or settings.stamp_owner)
    if not wanted.gateways:
        held = f"; {len(live.gateways):,} belong to other owners" if live.gateways else ""
        fix = "see whose they are with `reconciler status`, and name it with --owner" if held else "check --store"
        raise InputError(f"{place} holds no gateway to dump{held}", fix=fix)
    context = Context(
        place=place,
        labels=dict(settings.target.selector),
        modeline=_modeline(target, settings.root),
        genuine=engine.signatures.genuine,
    )
    return _Dump(target, settings, live, wanted, export(wanted, load_schemas(), now(), context))


def _write(target: Path, files: Mapping[str, bytes]) -> None:
    """Make the directory with all of its files, or nothing: it is filled under another name, and then renamed."""
    import tempfile

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".reconciler-dump-", dir=target.parent) as name:
            tree = Path(name) / "tree"
            tree.mkdir()
            _fill(tree, files)
            tree.rename(target)
    except OSError as error:
        fix = "choose a new directory, in one that you may write to; nothing was written"
        raise InputError(f"{target} cannot be written: {error.strerror}", fix=fix) from None


def _fill(tree: Path, files: Mapping[str, bytes]) -> None:
    """Write files that whoever may see the repository may read: nothing in them is secret."""
    for name, data in files.items():
        path = tree / name
        path.parent.mkdir(exist_ok=True)
        path.parent.chmod(0o755)
        path.write_bytes(data)
        path.chmod(0o644)


def _report(dumped: _Dump, directory: Path, voice: Voice) -> None:
    from reconciler.core.hostile import printable
    from reconciler.reports.problems import as_text
    from reconciler.reports.style import counted

    export = dumped.export
    if export.problems:
        click.echo(as_text(export.problems, voice.style), err=True)
    for name in list(export.files)[:_FILES_SHOWN]:
        voice.report(f"{voice.style('+', 'green')} {directory / name}")
    if len(export.files) > _FILES_SHOWN:
        voice.report(f"  and {counted(len(export.files) - _FILES_SHOWN, 'more file', 'more files')}")
    pem_files = len(export.files) - len(export.written)
    said = [counted(len(export.written), "gateway"), counted(pem_files, "certificate file")]
    if export.left_out:
        said.append(f"{len(export.left_out):,} left out")
    strangers = len(dumped.live.gateways) - len(dumped.wanted.gateways)
    if strangers:
        said.append(f"{strangers:,} of other owners not looked at (--all)")
    voice.report(printable(f"Dumped {', '.join(said)}."))


def _advise(dumped: _Dump, where: Where, voice: Voice) -> None:
    """Say what is not in the files, and what to do next."""
    from reconciler.settings import covers

    export, target = dumped.export, dumped.settings.target
    if not export.written:
        return
    labels = ", ".join(f"{key}={value}" for key, value in target.selector)
    voice.say(f"A store keeps no labels and no `verify`: none were written{f' but {labels}' if labels else ''}.")
    if export.to_fill_in:
        voice.say(f"First fill in where {_names(export.to_fill_in)} have their credentials from: grep -r 'to fill in'")
    place = dumped.directory.relative_to(dumped.settings.root).as_posix()
    if not covers((target.path,), place):
        voice.say(f"Next: move it below {target.path}, where the target {target.name} looks for its manifests")
        return
    voice.say(f"Next: reconciler plan{command_line(where)}")
    gateways = dumped.wanted.gateways
    if unowned := [name for name in export.written if gateways[name].stamp is None]:
        voice.say(f"  reconciler adopt {_names(unowned, ' ')}{path_options(where)}")
    if _others(dumped):
        voice.say(f"{_names(_others(dumped))}: another owner's, so a plan calls them conflicts until he gives them up")


def _others(dumped: _Dump) -> list[str]:
    stamps = {name: dumped.wanted.gateways[name].stamp for name in dumped.export.written}
    return [name for name, stamp in stamps.items() if stamp is not None and stamp.owner != dumped.settings.owner]


def _names(names: Iterable[str], separator: str = ", ") -> str:
    every = list(names)
    more = ["…"] if len(every) > _NAMES_SHOWN else []
    return separator.join([*every[:_NAMES_SHOWN], *more])
