"""What is no PEM certificate but often stands where one should: its name, and the command that makes one of it.

A command is complete: it names the file as the repository does, quoted for a POSIX shell, and leaves the result under
that name, so that no manifest has to change. Where a file holds other blocks as well it reads the one block alone.

Source: RFC 7468 sections 5 to 11 (labels), RFC 2315 and RFC 7292 (containers), openssl-x509(1) and its neighbours.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.core import der

if TYPE_CHECKING:
    from reconciler.core.framing import Block

_LFS = b"version https://git-lfs"
_HTML = re.compile(rb"\s*<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE)
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
_HEAD = 64

_NEW: Final = "new.pem"
_REQUEST = "put the issued CA certificate here, not the request for one"
_BARE_KEY = "put the CA's certificate here, not its bare public key"
_REVOCATIONS = "put the CA's certificate here; revocation lists are not part of a trust bundle"
_REMOVE = "remove the block; a bundle holds CA certificates and nothing else"
_PLAIN = ("convert it to a plain certificate", "openssl x509")
_TAKE_OUT = ("take the certificates out", "openssl pkcs7 -print_certs")
_BLOCK_COMMANDS: Final = {
    "TRUSTED CERTIFICATE": _PLAIN,
    "X509 CERTIFICATE": _PLAIN,
    "PKCS7": _TAKE_OUT,
    "CMS": _TAKE_OUT,
    "PKCS#7 bundle": _TAKE_OUT,
}
_BLOCK_FIXES: Final = {
    "CERTIFICATE REQUEST": _REQUEST,
    "NEW CERTIFICATE REQUEST": _REQUEST,
    "certificate request": _REQUEST,
    "X509 CRL": "remove the block; revocation lists are not part of a trust bundle",
    "revocation list": "remove the block; revocation lists are not part of a trust bundle",
    "PUBLIC KEY": _BARE_KEY,
    "RSA PUBLIC KEY": _BARE_KEY,
    "public key": _BARE_KEY,
}
_BINARY_COMMANDS: Final = {
    "certificate": ("convert it", "openssl x509 -inform der"),
    "PKCS#7 bundle": ("take the certificates out", "openssl pkcs7 -inform der -print_certs"),
    "PKCS#12 key store": ("take out the CA certificates alone", "openssl pkcs12 -cacerts -nokeys"),
}
_BINARY_NOTES: Final = {"PKCS#12 key store": "a private key in it counts as disclosed, and is to be replaced"}
_BINARY_FIXES: Final = {
    "certificate request": _REQUEST,
    "revocation list": _REVOCATIONS,
    "public key": _BARE_KEY,
}


class Foreign(NamedTuple):
    """What something is, what to do about it, and what else to know of it."""

    what: str
    fix: str
    note: str = ""


def foreign_file(file: str, data: bytes) -> Foreign | None:
    """Return what a file is that is no PEM text; None if it may be some."""
    encoding = _utf16(data)
    if encoding:
        path = _quoted(file)
        command = f"iconv -f {encoding} -t UTF-8 {path} > {_NEW} && mv {_NEW} {path}"
        return Foreign("UTF-16 text", f"save it as UTF-8: {command}")
    if data.startswith(_LFS):
        return Foreign("a git-lfs pointer", "fetch the real file with `git lfs pull`, or keep it out of git-lfs")
    if _HTML.match(data):
        return Foreign("an HTML or XML page", "download the certificate itself; this is a page about it, or an error")
    outer = der.first(data)
    if outer is not None and outer.tag == der.SEQUENCE and (kind := der.kind(data)) != "unknown":
        several = der.kind(der.after(data)) == kind
        return _binary(file, der.signed_kind(data) if kind == "certificate" else kind, several=several)
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        return Foreign(f"binary or damaged (a NUL byte in line {line})", "copy the certificate again as plain text")
    return None


def block_fix(file: str, what: str, block: Block, *, alone: bool) -> str:
    """Return what to do about a block that is not a certificate but `what`: a label, or a kind of DER.

    `alone` says that the file holds no other block.
    """
    known = _BLOCK_COMMANDS.get(what)
    if known is None:
        return _BLOCK_FIXES.get(what, _REMOVE)
    purpose, command = known
    if alone:
        return f"{purpose}: {_in_place(file, command)}"
    lines = f"sed -n {block.line},{block.end}p {_quoted(file)}"
    return f"{purpose} and put {_NEW} in its place: {lines} | {command} -out {_NEW}"


def _binary(file: str, kind: str, *, several: bool) -> Foreign:
    if kind == der.PRIVATE_KEY:
        return Foreign(kind, "")
    if several:
        return Foreign(f"several binary (DER) {kind}s in a row", "convert each by itself, and put the results here")
    command = _BINARY_COMMANDS.get(kind)
    fix = f"{command[0]}: {_in_place(file, command[1])}" if command is not None else _BINARY_FIXES[kind]
    return Foreign(f"a binary (DER) {kind}", fix, _BINARY_NOTES.get(kind, ""))


def _in_place(file: str, command: str) -> str:
    path = _quoted(file)
    return f"{command} -in {path} -out {_NEW} && mv {_NEW} {path}"


def _quoted(file: str) -> str:
    return shlex.quote(f"./{file}" if file.startswith("-") else file)


def _utf16(data: bytes) -> str:
    """Return the name of the encoding if the data is UTF-16, with a byte order mark or plainly without one."""
    if data.startswith(_BYTE_ORDER_MARKS):
        return "UTF-16"
    even, odd = data[:_HEAD:2], data[1:_HEAD:2]
    if odd and not any(odd) and all(even):
        return "UTF-16LE"
    return "UTF-16BE" if odd and not any(even) and all(odd) else ""
