"""PEM files: bytes in, certificates and problems out. Each certificate is parsed once, here.

Only CERTIFICATE blocks are taken; anything else in the file is named with its line and refused, for readers differ in
what they skip. A private key is refused without a word of it being repeated or kept. No file's own text is handed on:
what leaves is re-encoded from the parsed certificate. Whether a certificate is fit to be trusted is decided in
`reconciler.core.trust`.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.core import der
from reconciler.core.certificate import ParsedCertificate, parse
from reconciler.core.framing import LINE_END, Block, blocks
from reconciler.core.hostile import printable
from reconciler.core.problems import Location, Problem, Rule, Severity, in_order

if TYPE_CHECKING:
    from reconciler.core.model import Certificate

MAX_BYTES: Final = 10_000_000
MAX_BLOCKS: Final = 500
SUFFIXES: Final = (".pem", ".crt", ".cer", ".cert")

FILE_SUFFIX = Rule("pem-file-suffix", Severity.ERROR, f"Certificate files are named {', '.join(SUFFIXES)}.")
FILE_TOO_LARGE = Rule(
    "pem-file-too-large", Severity.ERROR, "No trust bundle comes near 10 MB, and every platform refuses one that does."
)
NOT_PEM = Rule(
    "pem-not-pem", Severity.ERROR, "Only PEM text can be read; other formats are named, with the conversion."
)
NO_CERTIFICATE = Rule(
    "pem-no-certificate",
    Severity.ERROR,
    "A certificate file without a certificate would silently mean no trust at all.",
)
TOO_MANY_BLOCKS = Rule(
    "pem-too-many-blocks", Severity.ERROR, f"At most {MAX_BLOCKS} blocks are read, so that a file cannot stall a run."
)
PRIVATE_KEY = Rule(
    "pem-private-key",
    Severity.ERROR,
    "A private key in a repository or a gateway's row is known to everyone who can read.",
)
NOT_A_CERTIFICATE = Rule(
    "pem-not-a-certificate", Severity.ERROR, "Readers skip or refuse other blocks, each in its own way."
)
BLOCK_HEADER = Rule(
    "pem-block-header",
    Severity.ERROR,
    "Certificates have no headers; OpenSSL's cadata and browsers refuse such a block.",
)
BAD_BASE64 = Rule("pem-bad-base64", Severity.ERROR, "A block that does not decode has lost or gained characters.")
BAD_LENGTH = Rule(
    "pem-bad-length", Severity.ERROR, "A block holds exactly one certificate; OpenSSL drops what follows it silently."
)

_PUTTY = re.compile(r"PuTTY-User-Key-File-\d", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_STRANGER = re.compile(r"[^A-Za-z0-9+/=]")
_MAX_FRAMING_PROBLEMS = 50

_UTF16 = (b"\xff\xfe", b"\xfe\xff", b"-\0-\0", b"\0-\0-")
_LFS = b"version https://git-lfs"
_HTML = re.compile(rb"\s*<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE)

_REMOVE = "remove the block; a bundle holds CA certificates and nothing else"
_FIXES: Final = {
    "TRUSTED CERTIFICATE": "convert it: openssl x509 -in FILE -out ca.pem",
    "X509 CERTIFICATE": "convert it: openssl x509 -in FILE -out ca.pem",
    "PKCS7": "take the certificates out: openssl pkcs7 -in FILE -print_certs -out ca.pem",
    "CMS": "take the certificates out: openssl pkcs7 -in FILE -print_certs -out ca.pem",
    "CERTIFICATE REQUEST": "put the issued CA certificate here, not the request for one",
    "NEW CERTIFICATE REQUEST": "put the issued CA certificate here, not the request for one",
    "X509 CRL": "remove the block; revocation lists are not part of a trust bundle",
    "PUBLIC KEY": "put the CA's certificate here, not its bare public key",
    "RSA PUBLIC KEY": "put the CA's certificate here, not its bare public key",
}
_BINARY_FIXES: Final = {
    "certificate": "convert it: openssl x509 -inform der -in FILE -out ca.pem",
    "PKCS#7 bundle": "convert it: openssl pkcs7 -inform der -in FILE -print_certs -out ca.pem",
    "PKCS#12 key store": "take out the CA certificates alone: openssl pkcs12 -in FILE -cacerts -nokeys -out ca.pem",
    "public key": "put the CA's certificate here, not its bare public key",
}
_KEY_FIX = "remove the key from the file and from git's history, and replace the key: it counts as disclosed"


@dataclass(frozen=True, slots=True)
class PemFile:
    """A file as read: its certificates in file order, and everything that is wrong with it.

    A file whose problems include an error is not to be used, even where some of its certificates could be read.
    """

    file: str
    parsed: tuple[ParsedCertificate, ...]
    problems: tuple[Problem, ...]

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """The certificates in file order."""
        return tuple(each.certificate for each in self.parsed)


def read_pem(file: str, data: bytes) -> PemFile:
    """Return the certificates and problems of a file. Whatever `data` is, this raises nothing.

    `file` is the name to report; its suffix is checked. `data` is the whole content.
    """
    problems = [] if file.lower().endswith(SUFFIXES) else [_suffix(file)]
    unreadable = _unreadable(file, data)
    if unreadable is not None:
        return PemFile(file, (), in_order((*problems, unreadable)))
    reading = _Reading(file)
    reading.read(data.removeprefix(b"\xef\xbb\xbf").decode("latin-1"))
    return PemFile(file, tuple(reading.parsed), in_order((*problems, *reading.problems)))


def _suffix(file: str) -> Problem:
    message = "this name is not one of a certificate file"
    return FILE_SUFFIX.at(Location(file), message, fix=f"name it with one of {', '.join(SUFFIXES)}")


def _unreadable(file: str, data: bytes) -> Problem | None:
    """Return why the file as a whole cannot be PEM text, if so."""
    here = Location(file)
    if len(data) > MAX_BYTES:
        message = f"the file has {len(data):,} bytes; at most {MAX_BYTES:,} are read"
        return FILE_TOO_LARGE.at(here, message, fix="keep only the CA certificates this upstream needs")
    if not data.strip():
        return NO_CERTIFICATE.at(here, "the file is empty", fix="put the CA's certificate into it, as PEM text")
    foreign = _foreign(data)
    if foreign is None:
        return None
    what, fix = foreign
    if what == "private key":
        return PRIVATE_KEY.at(here, "the file is a private key", fix=_KEY_FIX)
    return NOT_PEM.at(here, f"the file is {what}, not PEM text", fix=fix)


def _foreign(data: bytes) -> tuple[str, str] | None:
    """Return what a file is that is no PEM text, and the fix."""
    if data.startswith(_UTF16):
        return "UTF-16 text", "save it as UTF-8 or ASCII: iconv -f UTF-16 -t UTF-8 FILE"
    if data.startswith(_LFS):
        return "a git-lfs pointer", "fetch the real file with `git lfs pull`, or keep certificates out of git-lfs"
    if _HTML.match(data):
        return "an HTML or XML page", "download the certificate itself; this is a page about it, or an error page"
    outer = der.first(data)
    if outer is not None and outer.tag == der.SEQUENCE and (kind := der.kind(data)) != "unknown":
        return (kind if kind == "private key" else f"a binary (DER) {kind}"), _BINARY_FIXES.get(kind, "")
    if b"\0" in data:
        return _binary(data)
    return None


def _binary(data: bytes) -> tuple[str, str]:
    line = data.count(b"\n", 0, data.index(b"\0")) + 1
    return f"binary or damaged (a NUL byte in line {line})", "copy the certificate again as plain text"


class _Reading:
    """The certificates and problems of one text so far."""

    def __init__(self, file: str) -> None:
        self.parsed: list[ParsedCertificate] = []
        self.problems: list[Problem] = []
        self._file = file

    def read(self, text: str) -> None:
        found, problems = blocks(self._file, text)
        self.problems.extend(problems[:_MAX_FRAMING_PROBLEMS])
        for block in found[:MAX_BLOCKS]:
            self._take(block)
        if len(found) > MAX_BLOCKS:
            message = f"the file has {len(found):,} blocks; at most {MAX_BLOCKS} are read"
            self._report(TOO_MANY_BLOCKS, found[MAX_BLOCKS].line, message, "keep only the CAs this upstream needs")
        self._look_for_putty(text)
        if not found and not self.problems:
            message = "there is no certificate in the file, only text"
            self._report(NO_CERTIFICATE, 1, message, "paste the whole certificate, from its BEGIN line to its END line")

    def _take(self, block: Block) -> None:
        if block.private:
            self._private(block.line, f"a private key ({printable(block.label, 60)})")
        elif block.label != "CERTIFICATE":
            fix = _FIXES.get(block.label, _REMOVE)
            self._report(NOT_A_CERTIFICATE, block.line, f"a {printable(block.label, 60)} is not a certificate", fix)
        else:
            self._decode(block)

    def _decode(self, block: Block) -> None:
        encoded = "".join(line.strip(" \t") for line in block.body)
        if any(":" in line for line in block.body):
            message = "the block has headers (`Name: value` lines)"
            self._report(BLOCK_HEADER, block.line, message, "remove the headers and the blank line after them")
        elif (defect := _defect(block, encoded)) is not None:
            line, message = defect
            self._report(BAD_BASE64, line, message, "copy the certificate again from where it came")
        else:
            self._certificate(block, binascii.a2b_base64(encoded))

    def _certificate(self, block: Block, data: bytes) -> None:
        kind, rest = der.kind(data), der.after(data)
        if "private key" in (kind, der.kind(rest)):
            self._private(block.line, "a private key between CERTIFICATE markers")
        elif (wrong := _wrong_length(data, rest)) is not None:
            self._report(BAD_LENGTH, block.line, wrong, "copy the certificate again; one block, one certificate")
        elif kind != "certificate":
            what = "something else" if kind == "unknown" else f"a {kind}"
            message = f"the block does not hold a certificate but {what}"
            self._report(NOT_A_CERTIFICATE, block.line, message, "put the CA's certificate here")
        else:
            self._keep(parse(data, Location(self._file, block.line)))

    def _keep(self, result: ParsedCertificate | Problem) -> None:
        if isinstance(result, Problem):
            self.problems.append(result)
        else:
            self.parsed.append(result)

    def _look_for_putty(self, text: str) -> None:
        if (match := _PUTTY.search(text)) is not None:
            self._private(len(LINE_END.findall(text, 0, match.start())) + 1, "a PuTTY private key")

    def _private(self, line: int, what: str) -> None:
        self._report(PRIVATE_KEY, line, f"the file holds {what}", _KEY_FIX)

    def _report(self, rule: Rule, line: int, message: str, fix: str) -> None:
        self.problems.append(rule.at(Location(self._file, line), message, fix=fix))


def _defect(block: Block, encoded: str) -> tuple[int, str] | None:
    """Return the line and nature of what is no base64 in a block, if anything."""
    for number, line in enumerate(block.body, start=block.line + 1):
        stranger = _STRANGER.search(line.strip(" \t"))
        if stranger is not None:
            return number, f"the block has a character that is no base64: {printable(stranger[0])!r}"
    if not encoded:
        return block.line, "the block is empty"
    if not _BASE64.fullmatch(encoded):
        return block.line, "the block has base64 padding (`=`) before its end"
    if len(encoded) % 4:
        return block.line, "the block's base64 is cut short: characters or the padding (`=`) are missing"
    return None


def _wrong_length(data: bytes, rest: bytes) -> str | None:
    """Return how the length of a block's data differs from what the data itself says, if it does."""
    element = der.first(data)
    if element is None or element.tag != der.SEQUENCE:
        return None
    if element.missing:
        return f"the certificate is cut short: {element.missing} of its bytes are missing"
    if not rest:
        return None
    several = der.kind(rest) == "certificate"
    return "the block holds more than one certificate" if several else f"{len(rest)} bytes follow the certificate"
