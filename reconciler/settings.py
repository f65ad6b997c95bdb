"""Options, environment and the config file become one value.

Precedence: an option (or its environment twin), then the target in `reconciler.yaml`, then the defaults. Without a
config file: the directory given, `sqlite:///gateways.db`, safe limits.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from reconciler.core.problems import ProblemsError, has_errors
from reconciler.core.safety import Limits
from reconciler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.planning import Policy

CONFIG_NAME: Final = "reconciler.yaml"
DEFAULT_STORE: Final = "sqlite:///gateways.db"
DEFAULT_OWNER: Final = "reconciler"


@dataclass(frozen=True, slots=True)
class Target:
    """A store, the part of the tree that belongs in it, and how far an apply may go."""

    name: str = "default"
    store: str = DEFAULT_STORE
    path: str = "."
    selector: tuple[tuple[str, str], ...] = ()
    policy: Policy = "sync"
    prune: bool = False
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key that reviewed config trusts: PEM text, or base64 of the raw 32 bytes."""

    name: str
    public_key: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a command needs to know, decided.

    `paths` are root-relative. `whole` says whether they are the target's whole tree: only then does absence mean
    removal.
    `signing_key` is a reference such as `file:…` or `env:…`, never a key.
    """

    root: Path
    paths: tuple[str, ...]
    config: Path | None = None
    whole: bool = True
    owner: str = DEFAULT_OWNER
    target: Target = field(default_factory=Target)
    signing_key: str = ""
    trusted_keys: tuple[TrustedKey, ...] = ()
    allow_unsigned: bool = False
    expiry_warning_days: int = 30


def load_settings(paths: tuple[Path, ...], config: Path | None = None, target: str | None = None) -> Settings:
    """Return the settings for manifests at `paths`, from the `reconciler.yaml` at or above the first one.

    Raises:
        ProblemsError: the config file has problems.
        InputError: a path is outside of the repository, or there is no such target.
    """
    start = paths[0].resolve() if paths else Path.cwd()
    found = config.resolve() if config is not None else _find_upwards(start, CONFIG_NAME)
    if found is None:
        return _without_config(start, paths)
    root = found.parent
    spec = _read_config(found)
    chosen = _choose(_targets(spec, root), target)
    wanted = {_relative(path, root) for path in paths}
    whole = wanted <= {".", chosen.path}
    return Settings(
        root=root,
        config=found,
        paths=(chosen.path,) if whole else tuple(sorted(wanted)),
        whole=whole,
        owner=spec.get("owner", DEFAULT_OWNER),
        target=chosen,
        expiry_warning_days=spec.get("expiryWarningDays", 30),
        **_signing(spec.get("signing", {}), root),
    )


def _without_config(start: Path, paths: tuple[Path, ...]) -> Settings:
    top = start if start.is_dir() else start.parent
    repository = _find_upwards(top, ".git")
    root = repository.parent if repository is not None else top
    relative = tuple(sorted({_relative(path, root) for path in paths or (top,)}))
    return Settings(root=root, paths=relative, whole=len(relative) == 1 and start.is_dir())


def _read_config(path: Path) -> dict[str, Any]:
    from reconciler.core.manifest import read_manifests
    from reconciler.schema_files import load_schemas

    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", fix="check the path given by --config") from None
    read = read_manifests(path.name, data, load_schemas())
    if has_errors(read.problems):
        raise ProblemsError(read.problems)
    configs = [manifest for manifest in read.manifests if manifest.kind == "Config"]
    if len(configs) != 1:
        raise InputError(f"{path} holds {len(configs)} documents of kind Config", fix="it needs exactly one")
    return configs[0].spec


def _targets(spec: Mapping[str, Any], root: Path) -> tuple[Target, ...]:
    shared = {"path": spec.get("path", "."), "store": spec.get("store", DEFAULT_STORE)}
    documents = spec.get("targets") or [{"name": "default"}]
    return tuple(_target({**shared, **document}, root) for document in documents)


def _target(document: Mapping[str, Any], root: Path) -> Target:
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
    )


def _anchored(store: str, root: Path) -> str:
    """Make a relative SQLite path relative to the config file that names it, not to wherever the command runs."""
    scheme, separator, path = store.partition(":///")
    if scheme == "sqlite" and separator and not path.startswith("/"):
        return f"sqlite:///{root / path}"
    return store


def _choose(targets: tuple[Target, ...], name: str | None) -> Target:
    if name is None:
        if len(targets) == 1:
            return targets[0]
        raise InputError("this repository has several targets", fix=f"choose one with --target: {_names(targets)}")
    for target in targets:
        if target.name == name:
            return target
    raise InputError(f"there is no target `{name}`", fix=f"the targets are: {_names(targets)}")


def _names(targets: tuple[Target, ...]) -> str:
    return ", ".join(target.name for target in targets)


def _signing(spec: Mapping[str, Any], root: Path) -> dict[str, Any]:
    reference = spec.get("keyFrom", {})
    key = ""
    if "env" in reference:
        key = f"env:{reference['env']}"
    elif "file" in reference:
        key = f"file:{root / reference['file']}"
    return {
        "signing_key": key,
        "trusted_keys": tuple(TrustedKey(key["name"], key["publicKey"]) for key in spec.get("trustedKeys", ())),
        "allow_unsigned": spec.get("allowUnsigned", False),
    }


def with_overrides(settings: Settings, target: Mapping[str, Any], limits: Mapping[str, Any]) -> Settings:
    """Return the settings with what was given on the command line; None means that it was not."""
    return replace(
        settings,
        target=replace(settings.target, **_given(target), limits=replace(settings.target.limits, **_given(limits))),
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
