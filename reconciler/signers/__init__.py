"""Where signing keys live. One file per kind of place; this one chooses by the reference's scheme.

`file:PATH` is a key file, `env:NAME` an environment variable, and `vault:MOUNT/KEY` a key of HashiCorp Vault. Without a
reference the environment decides, in the order of `FROM_ENVIRONMENT`. A signer is checked when it is found, so that a
run without a usable key ends before it has begun. No key is ever shown.

Another package adds a place (a PKCS#11 token, the KMS of a cloud) through an entry point in the group
`reconciler.signers`, named after its scheme: a function of what stands behind the colon and of the environment, which
returns a `Signer`, or None where there is no such key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, cast

from reconciler.core.hostile import printable
from reconciler.errors import SignerError

if TYPE_CHECKING:
    from reconciler.core.ports import Signer

Finder = Callable[[str, Mapping[str, str]], "Signer | None"]
"""Finds the key at a place, None if there is none there."""

FROM_ENVIRONMENT: Final = (
    "RECONCILER_SIGNING_KEY_FILE",
    "RECONCILER_SIGNING_KEY_FROM",
    "RECONCILER_SIGNING_KEY",
    "ED25519_PRIVATE_KEY",
)
"""Variables that give a key, the first one set wins: a path, a reference, a PEM, and ContextForge's own PEM."""

ENTRY_POINTS: Final = "reconciler.signers"


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
    find = _finder(scheme) if separator and place and _KEY_BEGINS not in place else None
    if find is None:
        raise _unknown(reference)
    signer = find(place, environ)
    if signer is None and not missing_ok:
        raise SignerError(f"there is no signing key at {printable(reference)}", fix=_FIX)
    return signer


def _implied(environ: Mapping[str, str]) -> str | None:
    for name in FROM_ENVIRONMENT:
        if environ.get(name):
            return {"_FILE": f"file:{environ[name]}", "_FROM": environ[name]}.get(name[-5:], f"env:{name}")
    return None


def _finder(scheme: str) -> Finder | None:
    if scheme in _SCHEMES:
        return _SCHEMES[scheme]
    from importlib.metadata import entry_points

    found = entry_points(group=ENTRY_POINTS)
    if scheme not in found.names:
        return None
    try:
        return cast("Finder", found[scheme].load())
    except (ImportError, AttributeError) as error:
        fix = f"reinstall the package that has {found[scheme].value}"
        raise SignerError(f"the package that signs with `{scheme}:` cannot be loaded: {error}", fix=fix) from error


def _file(place: str, _environ: Mapping[str, str]) -> Signer | None:
    from pathlib import Path

    from reconciler.signers.keyfile import key_in_file

    path = Path(place)
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise SignerError(f"the signing key at {printable(place)} cannot be reached: {error}", fix=_FIX) from None
    return key_in_file(path)


def _environment(place: str, environ: Mapping[str, str]) -> Signer | None:
    from reconciler.signers.environment import key_in_variable

    return key_in_variable(place, environ[place]) if environ.get(place) else None


def _vault(place: str, environ: Mapping[str, str]) -> Signer:
    from reconciler.signers.vault import open_vault

    return open_vault(place, environ)


_SCHEMES: Final[Mapping[str, Finder]] = {"file": _file, "env": _environment, "vault": _vault}


def _unknown(reference: str) -> SignerError:
    """Return the error for a reference that is none. It may be a key pasted by mistake, so it is not repeated."""
    what = "a key itself" if _KEY_BEGINS in reference else "not one"
    schemes = ", ".join(f"`{scheme}:`" for scheme in _SCHEMES)
    fix = f"write one of {schemes}, and the path, the variable, or the mount and name of the key"
    return SignerError(f"the reference to the signing key is {what}", fix=fix)
