"""Changes who is trusted: edits `keys/trusted.yaml` in the working tree, for a person to review and commit.

Nothing is trusted by that alone: a key counts once the file is in the tree that the reconciler reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.core.keyring import PLACE
from reconciler.core.keyring_text import with_key, without_key
from reconciler.core.problems import ProblemsError
from reconciler.errors import InputError
from reconciler.settings import keyring_in
from reconciler.sources.rewrite import write_inside

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.core.signing import TrustedKey


def add_key(root: Path, key: TrustedKey) -> None:
    """Write a key into the keyring of the repository at `root`, which is made if there is none.

    Raises:
        InputError: its name, or it, is there already, or the file cannot be edited.
        ProblemsError: the key cannot be trusted, or the file has problems.
    """
    before, text = _read(root)
    for other in before:
        if other.name == key.name or other.public == key.public:
            raise InputError(
                f"{PLACE} has a key {other.name}, {other.id}, already", fix="choose another name, or leave it at that"
            )
    _write(root, with_key(text, key), (*before, key))


def retire_key(root: Path, name: str) -> None:
    """Remove a key from the keyring of the repository at `root`.

    Raises:
        InputError: there is no such key, it is the last one, or the file cannot be edited.
        ProblemsError: the file has problems.
    """
    before, text = _read(root)
    left = tuple(key for key in before if key.name != name)
    if len(left) == len(before):
        known = ", ".join(key.name for key in before) or "none"
        raise InputError(f"{PLACE} has no key named {name}", fix=f"the keys are: {known}")
    if not left:
        raise InputError(f"{name} is the last key in {PLACE}", fix="add its successor first: `reconciler keys add`")
    _write(root, without_key(text, name), left)


def _read(root: Path) -> tuple[tuple[TrustedKey, ...], str]:
    path = root / PLACE
    if not path.exists():
        return (), ""
    data = path.read_bytes()
    return keyring_in(data, PLACE), data.decode()


def _write(root: Path, text: str, wanted: tuple[TrustedKey, ...]) -> None:
    """Write the text, once it was read again and says what it is to say."""
    data = text.encode()
    try:
        found = keyring_in(data, PLACE)
    except ProblemsError as error:
        raise InputError(error.problems[0].message, fix=error.problems[0].fix) from None
    if found != wanted:
        raise InputError(f"{PLACE} is laid out in a way that cannot be edited here", fix="edit it by hand")
    (root / PLACE).parent.mkdir(exist_ok=True)
    write_inside(root, PLACE, data)
