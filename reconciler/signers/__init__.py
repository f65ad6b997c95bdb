"""Where signing keys live. One file per kind of place; this one chooses by the reference's scheme.

`file:PATH` is a key file and `env:NAME` an environment variable. Without a reference the environment decides, in the
order of `FROM_ENVIRONMENT`. A signer is checked when it is found, so that a run without a usable key ends before it
has begun. No key is ever shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.core.hostile import printable
from reconciler.errors import SignerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.core.ports import Signer

FROM_ENVIRONMENT: Final = ("RECONCILER_SIGNING_KEY_FILE", "RECONCILER_SIGNING_KEY", "ED25519_PRIVATE_KEY")
"""Variables that give a key, the first one set wins: a path, a PEM, and ContextForge's own PEM."""


_KEY_BEGINS: Final = "-----BEGIN"
_FIX: Final = "make one with `reconciler keys generate signing.key`, or correct the reference"


def find_signer(reference: str | None, environ: Mapping[str, str], *, missing_ok: bool = False) -> Signer | None:
    """Return the signer that `reference` names, or without one the environment's; None if there is none.

    `missing_ok` gives None, too, where the file or variable of the reference does not exist.

    Raises:
        SignerError: the reference has no known scheme, or its key is missing or cannot be used.
    """
    reference = reference or _implied(environ)
    if reference is None:
        return None
    scheme, separator, place = reference.partition(":")
    find = _SCHEMES.get(scheme)
    if find is None or not separator or not place or _KEY_BEGINS in place:
        raise _unknown(reference)
    signer = find(place, environ)
    if signer is None and not missing_ok:
        raise SignerError(f"there is no signing key at {printable(reference)}", fix=_FIX)
    return signer


def _implied(environ: Mapping[str, str]) -> str | None:
    for name in FROM_ENVIRONMENT:
        if environ.get(name):
            return f"file:{environ[name]}" if name.endswith("_FILE") else f"env:{name}"
    return None


def _file(place: str, _environ: Mapping[str, str]) -> Signer | None:
    from pathlib import Path

    from reconciler.signers.keyfile import KeyFile

    path = Path(place)
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise SignerError(f"the signing key at {printable(place)} cannot be reached: {error}", fix=_FIX) from None
    return KeyFile(path)


def _environment(place: str, environ: Mapping[str, str]) -> Signer | None:
    from reconciler.signers.environment import EnvironmentKey

    return EnvironmentKey(place, environ[place]) if environ.get(place) else None


_SCHEMES: Final[dict[str, Callable[[str, Mapping[str, str]], Signer | None]]] = {
    "file": _file,
    "env": _environment,
}


def _unknown(reference: str) -> SignerError:
    """Return the error for a reference that is none. It may be a key pasted by mistake, so it is not repeated."""
    what = "a key itself" if _KEY_BEGINS in reference else "not one"
    schemes = " or ".join(f"`{scheme}:`" for scheme in _SCHEMES)
    fix = f"write {schemes} and the path or name of the variable that holds the key"
    return SignerError(f"the reference to the signing key is {what}", fix=fix)
