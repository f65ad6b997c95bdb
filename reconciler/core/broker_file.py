"""The file that a standalone Kuadrant broker reads: its bytes as values, and values as its bytes.

It is read as strictly as a manifest, and then as the broker means it (viper and mapstructure, in Kuadrant's MCP Gateway
0.9): keys in any case, a number where text belongs, `a,b` where a list belongs, `Enabled` or nothing for on. What the
broker would not load, and what it may load in more than one way, is refused with its place. Only plain block YAML with
quoted text is written, which no reader of YAML takes for anything else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.hostile import printable
from reconciler.core.pem import read_pem
from reconciler.core.problems import has_errors
from reconciler.core.strict_yaml import read_yaml
from reconciler.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Entry = Mapping[str, Any]
"""One server: what the broker reads under its keys, as text, flags and lists; other keys as they stand."""

MAX_BYTES: Final = 32 * 1024 * 1024
MARK: Final = "# mcp-gateway-reconciler owns this file"
"""How a file begins that is ours."""

_HEADER: Final = f"""{MARK}: the next apply replaces all of `servers`.
# Change the manifests in git instead. `virtualServers` and `gatewayCACertPEM` are kept as they stand here.
# Never write into this file and never delete it: the broker would read half of it, or stop looking at it.
"""

SERVERS: Final = "servers"
VIRTUAL_SERVERS: Final = "virtualServers"
GATEWAY_CA: Final = "gatewayCACertPEM"

ENABLED: Final = "Enabled"
DISABLED: Final = "Disabled"

_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_WORDS_WITH_A_MEANING: Final = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))
_BLOCK: Final = re.compile(r"(?:[!-~]+(?: +[!-~]+)*\n)+")
"""Lines of visible ASCII, as PEM is: such text reads better as it is than on one line."""

_TRUE: Final = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE: Final = frozenset(("", "0", "f", "F", "FALSE", "false", "False"))
_MEND: Final = "correct it there; the broker goes on with what it read before, and does not start again with this"


@dataclass(frozen=True, slots=True)
class BrokerFile:
    """What a broker's file says. `owned`: it says that it is ours.

    `rest` has the other keys of the file as they stand: virtual servers, the gateway's own bundle, and what the broker
    does not read.
    """

    servers: tuple[Entry, ...] = ()
    rest: Mapping[str, Any] = field(default_factory=dict)
    owned: bool = True


def read_broker_file(name: str, data: bytes) -> BrokerFile:
    """Return what the file of this name says.

    Raises:
        StoreError: the broker would not load it, or we cannot tell what the broker would make of it. No text of the
            file is repeated but keys.
    """
    read = read_yaml(name, data, limit=MAX_BYTES)
    if has_errors(read.problems):
        first = read.problems[0]
        where = f"{name}:{first.location.line}:{first.location.column}"
        raise StoreError(f"{where}: {first.message}", fix=f"{first.fix}; {_MEND}" if first.fix else _MEND)
    if len(read.documents) > 1:
        raise _unloadable(name, "has several documents, and the broker reads the first alone")
    document = read.documents[0].value if read.documents else {}
    top = _folded(document, _TOP, name, "the file")
    servers = top.pop(SERVERS, None) or []
    if not isinstance(servers, list):
        raise _unloadable(name, f"has no list under `{SERVERS}`")
    return BrokerFile(
        servers=tuple(_entry(server, name, number) for number, server in enumerate(servers, 1)),
        rest=top,
        owned=data.startswith(MARK.encode()),
    )


def broker_file_bytes(file: BrokerFile) -> bytes:
    """Return the bytes of a file that is ours. The servers are in the order of their names, keys in ours.

    Raises:
        ValueError: a text has a lone surrogate, which is not Unicode.
    """
    servers = sorted(file.servers, key=lambda entry: str(entry.get("name", "")))
    content = {SERVERS: [_in_order(entry) for entry in servers], VIRTUAL_SERVERS: [], **file.rest}
    return (_HEADER + "\n".join(_mapping_lines(content, "")) + "\n").encode()


def trusts_nothing(file: BrokerFile) -> bool:
    """Return whether the gateway's own bundle is there and holds no certificate.

    A broker whose private host is https refuses the whole file then, and does not start again; with an http one it
    loads the file, and no upstream over TLS works any more.
    """
    bundle = file.rest.get(GATEWAY_CA)
    return bool(bundle) and not (isinstance(bundle, str) and read_pem("bundle.pem", bundle.encode()).parsed)


def _folded(value: object, names: Mapping[str, str], file: str, where: str) -> dict[str, Any]:
    """Return a mapping under the names that the broker means by its keys: it reads them in any case."""
    if not isinstance(value, dict):
        raise _unloadable(file, f"has no keys in {where}")
    folded: dict[str, Any] = {}
    for key, found in value.items():
        name = names.get(key.lower(), key)
        if name in folded:
            raise _unloadable(file, f"has `{printable(key, 60)}` twice in {where}, for the broker reads any case")
        folded[name] = found
    return folded


def _entry(value: object, file: str, number: int) -> Entry:
    folded = _folded(value, _KEYS, file, f"server {number}")
    entry: dict[str, Any] = {}
    for name, found in folded.items():
        if found is None:
            continue
        try:
            entry[name] = _MEANINGS[name](found) if name in _MEANINGS else found
        except TypeError as error:
            raise _unloadable(file, f"has {error} under `{name}` of server {number}") from None
    return entry


def _text(value: object) -> str:
    """Return the text that mapstructure makes of a scalar."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, (dict, list)):
        raise TypeError("no text")
    return str(value)


def _texts(value: object) -> list[str]:
    if isinstance(value, list):
        return [_text(each) for each in value if each is not None]
    if isinstance(value, str):
        return value.split(",") if value else []
    return [_text(value)]


def _flag(value: object) -> bool:
    if isinstance(value, (bool, int, float)):
        return bool(value)
    if value in _TRUE or value in _FALSE:
        return value in _TRUE
    raise TypeError("no flag")


_MEANINGS: Final[Mapping[str, Callable[[object], Any]]] = {
    "name": _text,
    "url": _text,
    "hostname": _text,
    "prefix": _text,
    "state": _text,
    "userSpecificList": _flag,
    "category": _texts,
    "hint": _text,
    "tags": _texts,
    "credential": _text,
    "caCert": _text,
}
"""What the broker reads of a server and we write, in the order in which it is written."""

_KEYS: Final = {name.lower(): name for name in (*_MEANINGS, "auth", "guardrailsConfigIDs", "tokenURLElicitation")}
_TOP: Final = {name.lower(): name for name in (SERVERS, VIRTUAL_SERVERS, GATEWAY_CA)}


def strange_keys(entry: Entry) -> tuple[str, ...]:
    """Return the keys of a server that no manifest can say anything of."""
    return tuple(sorted(entry.keys() - _MEANINGS.keys()))


def _in_order(entry: Entry) -> Entry:
    known = {name: entry[name] for name in _MEANINGS if name in entry}
    return {**known, **entry}


def _mapping_lines(mapping: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in mapping.items():
        yield from _value_lines(f"{indent}{_key(key)}:", value, indent)


def _value_lines(before: str, value: object, indent: str) -> Iterator[str]:
    """Yield the lines of a value after what introduces it: on the same line where there is room."""
    if isinstance(value, dict) and value:
        yield before
        yield from _mapping_lines(value, f"{indent}  ")
    elif isinstance(value, list) and value:
        yield before
        for item in value:
            yield from _item_lines(item, indent)
    elif isinstance(value, str) and _BLOCK.fullmatch(value):
        lines = value[:-1].replace("\n", f"\n{indent}  ")
        yield f"{before} |\n{indent}  {lines}"
    else:
        yield f"{before} {_scalar(value)}"


def _item_lines(item: object, indent: str) -> Iterator[str]:
    if not (isinstance(item, dict) and item):
        yield from _value_lines(f"{indent}-", item, f"{indent}  ")
        return
    for number, line in enumerate(_mapping_lines(item, f"{indent}  ")):
        yield line if number else f"{indent}- {line.lstrip(' ')}"


def _scalar(value: object) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "{}"
    return "[]" if isinstance(value, list) else str(value)


def _key(key: str) -> str:
    is_plain = _PLAIN_KEY.fullmatch(key) and key.lower() not in _WORDS_WITH_A_MEANING
    return key if is_plain else _quoted(key)


def _quoted(text: str) -> str:
    """Return the text as a double-quoted scalar (YAML 1.2.2, section 7.3.1) on one line."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:  # noqa: PLR2004 - the surrogates of Unicode
        raise ValueError("not Unicode")
    if code <= 0xFF:  # noqa: PLR2004 - what two digits hold
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - what four digits hold


def _unloadable(file: str, what: str) -> StoreError:
    return StoreError(f"{file} {what}", fix=_MEND)
