"""The systems that hold live state, opened by URL. One file per store; adding one is a file and a line in `SCHEMES`.

Another package adds a store through an entry point in the group `reconciler.stores`, named after its scheme: a function
of the URL and the keywords `create` and `access`, like `open_store` itself.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from reconciler.errors import InputError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

    from reconciler.core.ports import Store
    from reconciler.stores.access import Access

SCHEMES: Final = {
    "contextforge+http": "reconciler.stores.contextforge.store:open_contextforge",
    "contextforge+https": "reconciler.stores.contextforge.store:open_contextforge",
    "kubernetes": "reconciler.stores.kubernetes.store:open_kubernetes",
    "kuadrant+file": "reconciler.stores.kuadrant.store:open_kuadrant_file",
    "memory": "reconciler.stores.memory:open_memory",
    "postgresql": "reconciler.stores.postgresql:open_postgresql",
    "sqlite": "reconciler.stores.sqlite:open_sqlite",
}
"""Where the function that opens each kind of store is found: `module:function`."""

ENTRY_POINTS: Final = "reconciler.stores"


class Opener(Protocol):
    """Opens one kind of store."""

    def __call__(self, url: str, *, create: bool, access: Access | None = None) -> Store:
        """Return the store at `url`."""
        ...


def open_store(url: str, *, create: bool, access: Access | None = None) -> Store:
    """Return the store that `url` names. Without `create`, one that does not exist yet reads as empty, and stays away.

    `access` is how a store behind a wire is let in; a store on this machine needs none.

    Raises:
        InputError: the URL names no store that we know. Its message never repeats more of the URL than the scheme.
        StoreError: the store cannot be opened.
    """
    scheme = re.match(r"([a-z][a-z0-9+.-]*):", url)
    return _opener(scheme[1] if scheme else "")(url, create=create, access=access)


def sqlite_path(url: str) -> Path | None:
    """Return the file of an SQLite store, which has room for a journal too, or None for a store of another kind.

    As in SQLAlchemy, three slashes begin a relative path and four an absolute one.

    Raises:
        InputError: it is an SQLite URL without a file, or with options.
    """
    if not url.startswith("sqlite:"):
        return None
    path = url.removeprefix("sqlite:///")
    if path == url or path in {"", ":memory:"} or "\0" in path:
        raise InputError(
            "the store's URL begins with `sqlite:` and names no file",
            fix="write sqlite:///gateways.db (relative), sqlite:////srv/gateways.db (absolute), or memory:",
        )
    if "?" in path:
        raise InputError("the store's URL has options after a `?`, and an SQLite store has none", fix="leave them out")
    return Path(path)


def _opener(scheme: str) -> Opener:
    if scheme in SCHEMES:
        module, _, function = SCHEMES[scheme].partition(":")
        return cast("Opener", getattr(import_module(module), function))
    found = _entry_points()
    if scheme in found.names:
        return _loaded(scheme, found[scheme])
    raise _unknown(scheme, sorted({*SCHEMES, *found.names}))


def _entry_points() -> EntryPoints:
    from importlib.metadata import entry_points

    return entry_points(group=ENTRY_POINTS)


def _loaded(scheme: str, entry_point: Any) -> Opener:  # noqa: ANN401 - importlib.metadata is not worth an import here
    try:
        return cast("Opener", entry_point.load())
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"the package that provides `{scheme}` stores cannot be loaded: {error}",
            fix=f"reinstall the package that has {entry_point.value}",
        ) from error


def _unknown(scheme: str, known: list[str]) -> InputError:
    from difflib import get_close_matches

    near = get_close_matches(scheme, known, n=1)
    said = f"there is no kind of store called `{scheme}`" if scheme else "the store is not given as a URL"
    hint = f"did you mean `{near[0]}`? " if near else ""
    return InputError(said, fix=f"{hint}known are {', '.join(known)}; for example sqlite:///gateways.db")
