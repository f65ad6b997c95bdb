"""Options, environment and the config file become one value.

Precedence: an option (or its environment twin), then the target in `reconciler.yaml`, then the defaults. Without a
config file: the directory given, `sqlite:///gateways.db`, safe limits.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from reconciler.core.levels import Levels, read_levels
from reconciler.core.problems import Location, ProblemsError, has_errors
from reconciler.core.safety import Limits
from reconciler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from reconciler.core.lint import TargetScope
    from reconciler.core.planning import Policy
    from reconciler.core.signing import TrustedKey

CONFIG_NAME: Final = "reconciler.yaml"
DEFAULT_STORE: Final = "sqlite:///gateways.db"
DEFAULT_OWNER: Final = "reconciler"


@dataclass(frozen=True, slots=True)
class Target:
    """A store, the part of the tree that belongs in it, and how far an apply may go.

    `siblings` are the other targets of the config file that have the same store.
    """

    name: str = "default"
    store: str = DEFAULT_STORE
    path: str = "."
    selector: tuple[tuple[str, str], ...] = ()
    policy: Policy = "sync"
    prune: bool = False
    limits: Limits = Limits()
    location: Location = field(default=Location(CONFIG_NAME), compare=False)
    siblings: tuple[Target, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a command needs to know, decided.

    `paths` are root-relative. `whole` says whether they are the targets' whole tree: only then does absence mean
    removal. `other_targets` are those of the config file that were not chosen.
    `history_keep` is how many applies are kept, 0 for none.
    `signing_key` is a reference such as `file:…` or `env:…`, never a key. `trusted_keys` are those of
    `keys/trusted.yaml`, in force or not.
    """

    root: Path
    paths: tuple[str, ...]
    config: Path | None = None
    whole: bool = True
    owner: str = DEFAULT_OWNER
    targets: tuple[Target, ...] = (Target(),)
    other_targets: tuple[Target, ...] = ()
    signing_key: str = ""
    trusted_keys: tuple[TrustedKey, ...] = ()
    allow_unsigned: bool = False
    expiry_warning_days: int = 30
    history_keep: int = 1000
    levels: Levels = field(default_factory=Levels)

    @property
    def stamp_owner(self) -> str:
        """The owner as it stands in stamps: with the target's name where several targets share a store.

        Each then prunes only what it wrote itself, whatever it may know of the others.

        Raises:
            InputError: there are several targets.
        """
        return f"{self.owner}/{self.target.name}" if self.target.siblings else self.owner

    @property
    def target(self) -> Target:
        """The one target.

        Raises:
            InputError: there are several.
        """
        if len(self.targets) > 1:
            fix = f"choose one with --target: {_names(self.targets)}"
            raise InputError("this repository has several targets", fix=fix)
        return self.targets[0]


def load_settings(paths: tuple[Path, ...], config: Path | None = None, target: str | None = None) -> Settings:
    """Return the settings for manifests at `paths`, from the `reconciler.yaml` at or above the first one.

    Without a `target` they are for every target of the config file.

    Raises:
        ProblemsError: the config file has problems.
        InputError: a path is outside of the repository, or there is no such target.
    """
    found = config_file(paths, config)
    if found is None:
        return _without_config(paths)
    root = found.parent
    spec, place = _read_document(found, found.name, "Config")
    every = _targets(spec, root, place)
    targets = _choose(every, target)
    tops = {target.path for target in targets}
    wanted = {_relative(path, root) for path in paths}
    whole = not wanted or "." in wanted or wanted == tops
    return Settings(
        root=root,
        config=found,
        paths=tuple(sorted(tops if whole else wanted)),
        whole=whole,
        owner=spec.get("owner", DEFAULT_OWNER),
        targets=targets,
        other_targets=tuple(each for each in every if each not in targets),
        levels=_levels(spec, place),
        expiry_warning_days=spec.get("expiryWarningDays", 30),
        history_keep=spec.get("history", {}).get("keep", 1000),
        trusted_keys=trusted_keys(root),
        **_signing(spec.get("signing", {}), root),
    )


def config_file(paths: tuple[Path, ...], config: Path | None = None) -> Path | None:
    """Return the config file that holds for `paths`: the one given, or the `reconciler.yaml` at or above the first."""
    return config.resolve() if config is not None else _find_upwards(_start(paths), CONFIG_NAME)


def repository_top(directory: Path) -> Path:
    """Return the top of the git repository that a directory is in; outside of one, the directory itself."""
    found = _find_upwards(directory, ".git")
    return found.parent if found is not None else directory


def _start(paths: tuple[Path, ...]) -> Path:
    return paths[0].resolve() if paths else Path.cwd()


def _without_config(paths: tuple[Path, ...]) -> Settings:
    start = _start(paths)
    top = start if start.is_dir() else start.parent
    root = repository_top(top)
    relative = tuple(sorted({_relative(path, root) for path in paths or (top,)}))
    whole = len(relative) == 1 and start.is_dir()
    target = Target(path=relative[0]) if whole else Target()
    return Settings(root=root, paths=relative, whole=whole, targets=(target,))


def _read_document(path: Path, name: str, kind: str) -> tuple[dict[str, Any], Callable[..., Location]]:
    """Return the spec of the one document of this kind in a file, and what gives the place of a JSON Pointer in it."""
    from reconciler.sources.directory import read_config

    return _document(read_config(path), name, kind)


def _document(data: bytes, name: str, kind: str) -> tuple[dict[str, Any], Callable[..., Location]]:
    from reconciler.core.manifest import read_manifests
    from reconciler.core.strict_yaml import locate
    from reconciler.schema_files import load_schemas

    read = read_manifests(name, data, load_schemas())
    if has_errors(read.problems):
        raise ProblemsError(read.problems)
    found = [manifest for manifest in read.manifests if manifest.kind == kind]
    if len(found) != 1:
        raise InputError(f"{name} holds {len(found)} documents of kind {kind}", fix="it needs exactly one")
    return found[0].spec, functools.partial(locate, name, data, found[0].document)


def trusted_keys(root: Path) -> tuple[TrustedKey, ...]:
    """Return the keys of the `keys/trusted.yaml` of a repository; nothing where there is none.

    Raises:
        ProblemsError: the file has problems.
        InputError: it cannot be read, or holds something else than one keyring.
    """
    from reconciler.core.keyring import PLACE

    path = root / PLACE
    return keyring_file(path, PLACE) if path.exists() else ()


def keyring_file(path: Path, name: str = "") -> tuple[TrustedKey, ...]:
    """Return the keys in a file of trusted keys, which problems call by `name`.

    Raises:
        ProblemsError: the file has problems.
        InputError: it cannot be read, or holds something else than one keyring.
    """
    from reconciler.sources.directory import read_config

    return keyring_in(read_config(path), name or path.name)


def keyring_in(data: bytes, name: str) -> tuple[TrustedKey, ...]:
    """Return the keys in the bytes of a file of trusted keys, which problems call by `name`.

    Raises:
        ProblemsError: the file has problems.
        InputError: it holds something else than one keyring.
    """
    from reconciler.core.keyring import read_keyring

    spec, place = _document(data, name, "Keyring")
    keys, problems = read_keyring(spec, place)
    if problems:
        raise ProblemsError(problems)
    return keys


def _targets(spec: Mapping[str, Any], root: Path, place: Callable[..., Location]) -> tuple[Target, ...]:
    shared = {"path": spec.get("path", "."), "store": spec.get("store", DEFAULT_STORE)}
    if "targets" not in spec:
        return (_target({**shared, "name": "default"}, root, place("/spec")),)
    every = [
        _target({**shared, **document}, root, place(f"/spec/targets/{index}"))
        for index, document in enumerate(spec["targets"])
    ]
    return tuple(replace(target, siblings=_siblings(target, every)) for target in every)


def _siblings(target: Target, every: Iterable[Target]) -> tuple[Target, ...]:
    place = _place_of(target.store)
    return tuple(other for other in every if other.name != target.name and _place_of(other.store) == place)


def _place_of(store: str) -> str:
    """Return a store's URL without what may differ between two URLs of one store."""
    if not store.startswith("postgresql:"):
        return store
    base, _, query = store.partition("?")
    place = re.sub(r"(?<=//)[^/@]*@", "", base).lower()
    options = dict(each.partition("=")[::2] for each in query.split("&"))
    host, _, database = place.removeprefix("postgresql://").partition("/")
    port = options.get("port", "5432")
    return f"{options.get('host', host).removesuffix(f':{port}')}/{database}?{options.get('schema', 'public')}"


def _target(document: Mapping[str, Any], root: Path, location: Location) -> Target:
    limits = document.get("limits", {})
    return Target(
        name=document["name"],
        store=_anchored(document["store"], root),
        path=document["path"].strip("/") or ".",
        selector=tuple(sorted(document.get("selector", {}).items())),
        policy=cast("Policy", document.get("policy", "sync")),
        prune=document.get("policy") == "sync",
        limits=Limits(
            max_delete_percent=limits.get("maxDeletePercent", 30),
            max_update_percent=limits.get("maxUpdatePercent", 30),
            max_deletes=limits.get("maxDeletes"),
            min_existing=limits.get("minExisting", 10),
            allow_empty=limits.get("allowEmpty", False),
        ),
        location=location,
    )


def _anchored(store: str, root: Path) -> str:
    """Make a relative SQLite path relative to the config file that names it, not to wherever the command runs."""
    scheme, separator, path = store.partition(":///")
    if scheme == "sqlite" and separator and not path.startswith("/"):
        return f"sqlite:///{root / path}"
    return store


def _choose(targets: tuple[Target, ...], name: str | None) -> tuple[Target, ...]:
    chosen = tuple(target for target in targets if name in (None, target.name))
    if not chosen:
        raise InputError(f"there is no target `{name}`", fix=f"the targets are: {_names(targets)}")
    return chosen


def _names(targets: tuple[Target, ...]) -> str:
    return ", ".join(target.name for target in targets)


def _levels(spec: Mapping[str, Any], place: Callable[..., Location]) -> Levels:
    if "rules" not in spec and "suppressions" not in spec:
        return Levels()
    from reconciler.core.rules import rules

    known = {rule.code: rule for chapter in rules().values() for rule in chapter}
    levels, problems = read_levels(spec, known, place)
    if problems:
        raise ProblemsError(problems)
    return levels


def _signing(spec: Mapping[str, Any], root: Path) -> dict[str, Any]:
    reference = spec.get("keyFrom", {})
    key = ""
    if "env" in reference:
        key = f"env:{reference['env']}"
    elif "file" in reference:
        key = f"file:{root / reference['file']}"
    elif "signer" in reference:
        key = reference["signer"]
    return {
        "signing_key": key,
        "allow_unsigned": spec.get("allowUnsigned", False),
    }


def with_overrides(settings: Settings, target: Mapping[str, Any], limits: Mapping[str, Any]) -> Settings:
    """Return the settings with what was given on the command line; None means that it was not.

    Raises:
        InputError: a store is given, and there are several targets.
    """
    given, bounds = _given(target), _given(limits)
    targets = settings.targets
    if "store" in given:
        given["siblings"], targets = (), (settings.target,)
    changed = (replace(each, **given, limits=replace(each.limits, **bounds)) for each in targets)
    return replace(settings, targets=tuple(changed))


def each_target(settings: Settings) -> tuple[Settings, ...]:
    """Return the settings for each target that the paths have a part in.

    Raises:
        InputError: they have a part in none.
    """
    found = tuple(
        replace(settings, targets=(target,))
        for target in settings.targets
        if any(covers((path,), target.path) or covers((target.path,), path) for path in settings.paths)
    )
    if not found:
        tops = ", ".join(f"{target.path} ({target.name})" for target in settings.targets)
        raise InputError(f"{', '.join(settings.paths)} belongs to no target", fix=f"the targets' paths are: {tops}")
    return found


def covers(paths: Iterable[str], name: str) -> bool:
    """Return whether a root-relative name is one of these paths, or below one."""
    return any(path in (".", name) or name.startswith(f"{path}/") for path in paths)


def scopes(settings: Settings) -> tuple[TargetScope, ...]:
    """Return what the config file says of all of its targets; without one, nothing is said."""
    from reconciler.core.lint import TargetScope

    if settings.config is None:
        return ()
    return tuple(
        TargetScope(target.name, target.store.partition(":")[0], target.path, dict(target.selector), target.location)
        for target in (*settings.targets, *settings.other_targets)
    )


def shown_store(url: str) -> str:
    """Return a store's URL fit to be shown: without a user name or password."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2] if '@' in rest.partition('/')[0] else rest}"


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _find_upwards(start: Path, name: str) -> Path | None:
    for directory in (start, *start.parents):
        if (directory / name).exists():
            return directory / name
    return None


def _relative(path: Path, root: Path) -> str:
    try:
        return path.resolve().relative_to(root).as_posix()
    except ValueError:
        raise InputError(f"{path} is outside of the repository {root}", fix="run it for one repository") from None
