"""The text of `keys/trusted.yaml` with a key more, or a key less. Everything else in it stays as people wrote it.

The text was read strictly before: it is one keyring, without anchors and of a bounded depth. What comes out is to be
read again by the caller, for an edit of text proves nothing.
"""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.signing import Role, public_text
from reconciler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from reconciler.core.signing import TrustedKey

HEADING: Final = """\
# Whoever holds one of these keys may say what a gateway is. Changing this list is a change to review.
apiVersion: reconciler/v1
kind: Keyring
metadata:
  name: trusted
spec:
  keys:
"""
"""A keyring without its keys, where there is none yet."""

_INDENT: Final = "    "


def entry(key: TrustedKey, indent: str = _INDENT) -> str:
    """Return the lines of one key."""
    lines = [
        f"{indent}- name: {json.dumps(key.name, ensure_ascii=False)}",
        f"{indent}  publicKey: {public_text(key.public)}  # {key.id}",
    ]
    if key.roles != frozenset(Role):
        lines.append(f"{indent}  roles: [{', '.join(sorted(key.roles))}]")
    window = (("notBefore", key.not_before), ("notAfter", key.not_after))
    lines += [f"{indent}  {field}: {_moment(moment)}" for field, moment in window if moment is not None]
    return "".join(f"{line}\n" for line in lines)


def with_key(text: str, key: TrustedKey) -> str:
    """Return the text of a keyring with one more key, after the others; without a text, that of a new one.

    Raises:
        InputError: the list is written in brackets, on one line.
    """
    if not text:
        return HEADING + entry(key)
    lines = text.splitlines(keepends=True)
    items = _items(text, f"add these lines below spec.keys:\n{entry(key)}")
    last = items[-1]
    lines[-1] = lines[-1].rstrip("\n") + "\n"
    at = _end(last)
    return "".join((*lines[:at], entry(key, _indent_of(lines[last.start_mark.line])), *lines[at:]))


def without_key(text: str, name: str) -> str:
    """Return the text of a keyring without the key of this name, which is in it, and not alone.

    Raises:
        InputError: the list is written in brackets, on one line.
    """
    lines = text.splitlines(keepends=True)
    items = _items(text, f"remove `{name}` from it by hand")
    (gone,) = (item for item in items if name in _names(item))
    return "".join(line for at, line in enumerate(lines) if not gone.start_mark.line <= at < _end(gone))


def _moment(moment: datetime) -> str:
    """Return a moment as the schema takes it, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}".removesuffix("T00:00:00Z")


def _items(text: str, fix: str) -> list[Any]:
    """Return the nodes of the keys."""
    import yaml

    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for wanted in ("spec", "keys"):
        node = next(value for key, value in node.value if key.value == wanted)
    if node.flow_style:
        raise InputError("the keys are written in brackets, which no tool can edit line by line", fix=fix)
    return list(node.value)


def _names(item: Any) -> Iterator[str]:  # noqa: ANN401 - a node of PyYAML
    return (str(value.value) for key, value in item.value if key.value == "name")


def _indent_of(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" "))]


def _end(node: Any) -> int:  # noqa: ANN401 - as above
    """Return the number of the line after a node: of one in block style, only its last leaf says where it ends."""
    while not isinstance(node.value, str) and not node.flow_style:
        node = node.value[-1][1] if isinstance(node.value[-1], tuple) else node.value[-1]
    mark = node.end_mark
    return int(mark.line) + (1 if mark.column else 0)
