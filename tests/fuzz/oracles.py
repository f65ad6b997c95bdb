"""What must hold for any bytes whatever: one oracle for each reader, shared by hypothesis and by the fuzzer.

An oracle returns nothing and raises AssertionError; whatever else it raises came out of the reader and is a finding as
well. Where somebody else reads the same language (PyYAML's composer, OpenSSL), the reader is compared with them.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import yaml

from reconciler.core.canonical import canonical_json
from reconciler.core.handshake import MAX_NAME, tool_digest
from reconciler.core.hostile import printable
from reconciler.core.manifest import read_manifests
from reconciler.core.pem import MAX_BLOCKS, read_pem
from reconciler.core.problems import has_errors
from reconciler.core.rules import rules
from reconciler.core.strict_yaml import PROBLEM_LIMIT, read_yaml
from reconciler.core.toolchanges import compare
from reconciler.core.toollock import read_lock, write_lock
from reconciler.core.tooltext import is_hidden
from reconciler.core.trust import build_bundle
from reconciler.schema_files import load_schemas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from reconciler.core.problems import Problem

SCHEMAS: Final = load_schemas()
NOW: Final = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CODES: Final = frozenset(rule.code for chapter in rules().values() for rule in chapter)

_SNIPPET_LIMIT: Final = 400
_TEXT_LIMIT: Final = 2_000
_PEM_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_CONSTANTS: Final = {None: ("", "~", "null"), True: ("true",), False: ("false",)}
_KEY: Final = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY-----((?:[A-Za-z0-9+/=\s\"',#|>]|-(?!----)|\\n)*)"
)
_ENCODED: Final = re.compile(r"[A-Za-z0-9+/]{16,}")
_WINDOW: Final = 16


def check_yaml(data: bytes) -> None:
    """Check that a manifest file is read or refused, at its places, wholly, and as PyYAML understands it."""
    read = read_manifests("a.yaml", data, SCHEMAS)
    lines = data.removeprefix(b"\xef\xbb\xbf").decode(errors="replace").splitlines()
    _check_problems(read.problems, lines, PROBLEM_LIMIT + 1)
    _check_no_key_is_shown(data, read.problems)
    if not read.problems:
        _check_wholly_read(data, len(read.manifests) + read.foreign)
    assert read == read_manifests("a.yaml", data, SCHEMAS), "it was read differently the second time"


def check_pem(data: bytes) -> None:
    """Check that a PEM file is read or refused, at its places, wholly, and that OpenSSL takes the bundle made of it."""
    read = read_pem("ca.pem", data)
    lines = _PEM_LINE_END.split(data.removeprefix(b"\xef\xbb\xbf").decode("latin-1"))
    bundle, unfit = build_bundle([read], NOW)
    problems = (*read.problems, *unfit)
    _check_problems(read.problems, lines, MAX_BLOCKS + 60)
    _check_problems(unfit, lines, 20 * (1 + len(read.certificates)))
    _check_no_key_is_shown(data, problems)
    assert not any(problem.location.snippet for problem in problems), "a line of the file is repeated"
    assert read.certificates or has_errors(read.problems), "nothing was found and nothing said"
    assert (bundle is None) == has_errors(problems), "refused without a reason, or taken in spite of one"
    if bundle is not None:
        found = len({certificate.sha256 for certificate in read.certificates})
        assert _taken_by_openssl(bundle.pem) == found, "OpenSSL does not take what was read"
        assert _taken_by_openssl(data.decode("latin-1")) <= found, "OpenSSL finds what was not read"
    assert (read, bundle, unfit) == (again := read_pem("ca.pem", data), *build_bundle([again], NOW)), "it differs"


def check_certificate(der: bytes) -> None:
    """Check what `check_pem` does of one block that holds these bytes: the fuzzer does not get through the base64."""
    check_pem(b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n")


def check_lock(data: bytes) -> None:
    """Check that a tools lock is read or refused, at its places, and wholly: written again it is the same lock."""
    read = lock, problems = read_lock("a.tools.json", data)
    lines = data.decode(errors="replace").splitlines()
    _check_problems(problems, lines, 2 + len(data) // 8)
    assert (lock.tools is None) == has_errors(problems), "refused without a reason, or taken in spite of one"
    assert read == read_lock("a.tools.json", data), "it was read differently the second time"
    if lock.tools is None:
        return
    written = write_lock(lock.tools)
    assert read_lock("a.tools.json", written)[0] == lock, "written again it is another lock"
    text = written.decode()
    assert not any(is_hidden(text, at) for at in range(len(text))), "something in it is there without being seen"
    assert not any(change.kind for change in compare(lock.tools, lock.tools)), "it differs from itself"


def check_tool(data: bytes) -> None:
    """Check what `check_lock` does of one tool of this definition: the fuzzer does not guess its digest."""
    try:
        definition = json.loads(data)
        text = canonical_json(definition)
        own = definition["name"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return
    name = printable(own, MAX_NAME) if isinstance(own, str) else own
    block = {"name": name, "sha256": tool_digest(text), "definition": definition}
    check_lock(json.dumps({"apiVersion": "reconciler/v1", "kind": "ToolsLock", "tools": [block]}).encode())


ORACLES: Final[dict[str, Callable[[bytes], None]]] = {
    "yaml": check_yaml,
    "pem": check_pem,
    "certificate": check_certificate,
    "lock": check_lock,
    "tool": check_tool,
}


def _check_problems(problems: Sequence[Problem], lines: Sequence[str], limit: int) -> None:
    assert len(problems) <= limit, f"{len(problems)} problems are more than a person reads"
    for problem in problems:
        where = problem.location
        assert problem.code in CODES, f"{problem.code} is in no list of rules"
        assert problem.message.strip(), f"{problem.code} says nothing"
        assert 1 <= where.line <= len(lines) + 1, f"{problem.code} is beyond the last line: {where}"
        line = lines[where.line - 1] if where.line <= len(lines) else ""
        assert 1 <= where.column <= len(line) + 1, f"{problem.code} is beyond the end of its line: {where}"
        assert where.length >= 1
        assert where.snippet in ("", line[:_SNIPPET_LIMIT]), f"{problem.code} shows another line: {where}"
        assert len(problem.message) + len(problem.fix) <= _TEXT_LIMIT, f"{problem.code} is endless"
        (problem.message + problem.fix).encode()


def _check_no_key_is_shown(data: bytes, problems: Iterable[Problem]) -> None:
    """Fail if encoded text that stands in private keys only, any 16 characters of it, is in what is said."""
    keys = _KEY.findall(data)
    if not keys:
        return
    secret = _windows(b" ".join(keys).decode()) - _windows(_KEY.sub(b" ", data).decode("latin-1"))
    assert not secret & _windows(repr(problems)), "something of a private key is repeated"


def _check_wholly_read(data: bytes, taken: int) -> None:
    """Fail unless PyYAML finds the same documents. It is asked about accepted files only: a deep one brings it down."""
    documents = read_yaml("a.yaml", data).documents
    nodes = [node for node in _composed(data) if not _is_null(node)]
    assert taken == len(documents) == len(nodes), "a document was lost"
    assert all(map(_agrees, nodes, (document.value for document in documents))), "PyYAML reads something else"


def _windows(text: str) -> set[str]:
    """Return every piece of encoded text, 16 characters long; without a digit it would be a word."""
    runs = _ENCODED.findall(text.replace("\\n", "\n"))
    pieces = {run[start : start + _WINDOW] for run in runs for start in range(len(run) - _WINDOW + 1)}
    return {piece for piece in pieces if any(map(str.isdigit, piece))}


def _composed(data: bytes) -> list[yaml.Node]:
    try:
        return list(yaml.compose_all(data.decode("utf-8-sig"), Loader=yaml.CSafeLoader))
    except (yaml.YAMLError, UnicodeError) as error:
        raise AssertionError("PyYAML refuses the file, and nothing is said about it") from error


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and not node.style and node.value.lower() in _CONSTANTS[None]


def _agrees(node: yaml.Node, value: Any) -> bool:
    """Return whether a value has the structure and the text of a node, whatever its type was taken for."""
    match node, value:
        case yaml.MappingNode(), dict():
            pairs = [(key.value, below) for key, below in node.value]
            return list(value) == [key for key, _ in pairs] and all(_agrees(below, value[key]) for key, below in pairs)
        case yaml.SequenceNode(), list():
            return len(value) == len(node.value) and all(map(_agrees, node.value, value))
        case yaml.ScalarNode(), str():
            return bool(value == node.value)
        case yaml.ScalarNode(), None | True | False:
            return not node.style and node.value.lower() in _CONSTANTS[value]
        case yaml.ScalarNode(), int() | float():
            return not node.style and float(node.value) == value
    return False


def _taken_by_openssl(text: str) -> int:
    """Return how many different certificates OpenSSL trusts after reading `text`, however it ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with suppress(ssl.SSLError, ValueError):
        context.load_verify_locations(cadata=text.encode("ascii", "replace").decode())
    return context.cert_store_stats()["x509"]
