"""The canonical layout of manifests: keys in the order of the schema, one indentation, every comment kept.

Formatting is done on text, not on values: what an author wrote is moved, not written anew. Documents of other tools are
copied as they stand, and so is a file with any problem of YAML. As a last safeguard the outcome is read again: unless
it holds the same values and the same comments the file stays as it is.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.core.layout_lines import document_lines
from reconciler.core.layout_tree import Collection, Scalar, read_tree
from reconciler.core.manifest import API_VERSION
from reconciler.core.problems import Location, Problem, Rule, Severity
from reconciler.core.strict_yaml import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.core.key_order import KeyOrder
    from reconciler.core.layout_tree import Document, Tree
    from reconciler.core.strict_yaml import YamlFile

NOT_FORMATTABLE = Rule(
    "not-formattable",
    Severity.WARNING,
    "The file holds something that formatting could not keep, so it was left as it is.",
)

_BYTE_ORDER_MARK: Final = "\ufeff"
_OTHER_BREAKS: Final = re.compile("[\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Formatted:
    """A file after formatting: its bytes, which are those it had where it was left as it is, and what is wrong."""

    data: bytes
    problems: tuple[Problem, ...] = ()


def format_manifests(file: str, data: bytes, orders: Mapping[str, KeyOrder]) -> Formatted:
    r"""Lay out the documents whose kind is in `orders`. Never raises: whatever is wrong is among the problems.

    Formatting the outcome again changes nothing. It has no byte order mark, and its lines end in `\n`.
    """
    read = read_yaml(file, data)
    if read.problems:
        return Formatted(data, read.problems)
    text = data.decode().removeprefix(_BYTE_ORDER_MARK).replace("\r\n", "\n").replace("\r", "\n")
    tree = read_tree(text)
    kinds = [_kind(document) for document in tree.documents]
    if not orders.keys() & set(kinds):
        return Formatted(data)
    obstacle = _obstacle(text, tree)
    if obstacle:
        return Formatted(data, (_left_alone(file, obstacle),))
    parts = zip(tree.documents, kinds, _verbatim(text, tree), strict=True)
    formatted = "".join(_text(document, orders[kind]) if kind in orders else as_is for document, kind, as_is in parts)
    outcome = formatted.encode()
    if outcome != data and not _holds_the_same(read, tree, formatted):
        return Formatted(data, (_left_alone(file, "formatting would change what this says"),))
    return Formatted(outcome)


def _kind(document: Document) -> str:
    """Return the kind of a document of ours; nothing for any other."""
    root = document.root.value
    if not isinstance(root, Collection) or not root.is_mapping:
        return ""
    values = {entry.key.value: entry.value for entry in root.entries if entry.key is not None}
    version, kind = values.get("apiVersion"), values.get("kind")
    if isinstance(version, Scalar) and isinstance(kind, Scalar) and version.value == API_VERSION:
        return kind.value
    return ""


def _obstacle(text: str, tree: Tree) -> str:
    """Return what cannot be moved to another line safely, if there is such a thing."""
    if found := _OTHER_BREAKS.search(text):
        return f"U+{ord(found[0]):04X} ends a line for some readers of YAML, and not for others"
    if any(document.has_directives for document in tree.documents):
        return "a line that begins with `%` is a directive"
    return ""


def _left_alone(file: str, reason: str) -> Problem:
    return NOT_FORMATTABLE.at(Location(file), f"{reason}, so the file was left as it is", fix="lay it out by hand")


def _verbatim(text: str, tree: Tree) -> Iterator[str]:
    """Yield the text of each document as it stands, with the `---` that divides it from the one before."""
    lines = text.splitlines(keepends=True)
    starts = [document.line for document in tree.documents]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        part = "".join(lines[start:end])
        yield part if start == 0 or part.startswith("---") else f"---\n{part}"


def _text(document: Document, order: KeyOrder) -> str:
    return "\n".join([*document_lines(document, order), ""])


def _holds_the_same(read: YamlFile, tree: Tree, formatted: str) -> bool:
    """Return whether the outcome has the values and the comments that there were."""
    again = read_yaml("", formatted.encode())
    if again.problems or _values(again) != _values(read):
        return False
    return Counter(read_tree(formatted).comments) == Counter(tree.comments)


def _values(read: YamlFile) -> str:
    """Return the values as text, in which `1`, `1.0` and `true` differ, and the order of keys does not count."""
    return json.dumps([document.value for document in read.documents], sort_keys=True)
