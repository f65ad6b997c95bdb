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
from reconciler.core.certificate import parse
from reconciler.core.foreign import block_fix, foreign_file
from reconciler.core.framing import LINE_END, Block, blocks
from reconciler.core.hostile import printable
from reconciler.core.problems import Location, Problem, Rule, Severity, in_order

if TYPE_CHECKING:
    from reconciler.core.certificate import ParsedCertificate
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
    foreign = foreign_file(file, data)
    if foreign is None:
        return None
    if foreign.what == der.PRIVATE_KEY:
        return PRIVATE_KEY.at(here, "the file is a private key", fix=_KEY_FIX)
    note = f"; {foreign.note}" if foreign.note else ""
    return NOT_PEM.at(here, f"the file is {foreign.what}, not PEM text{note}", fix=foreign.fix)


class _Reading:
    """The certificates and problems of one text so far."""

    def __init__(self, file: str) -> None:
        self.parsed: list[ParsedCertificate] = []
        self.problems: list[Problem] = []
        self._file = file
        self._alone = False

    def read(self, text: str) -> None:
        found, problems = blocks(self._file, text)
        self.problems.extend(problems[:_MAX_FRAMING_PROBLEMS])
        self._alone = len(found) == 1
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
            message = f"a {printable(block.label, 60)} is not a certificate"
            self._not_a_certificate(block, block.label, message)
        else:
            self._decode(block)

    def _decode(self, block: Block) -> None:
        encoded = "".join(line.strip(" \t") for line in block.body)
        if any(":" in line for line in block.body):
            message = "the block has headers (`Name: value` lines)"
            self._report(BLOCK_HEADER, block.line, message, "remove the headers and the blank line after them")
        elif (defect := _defect(block, encoded)) is not None:
            line, message = defect
            self._report(BAD_BASE64, line, message, "copy the whole block again from where it came")
        else:
            self._certificate(block, binascii.a2b_base64(encoded))

    def _certificate(self, block: Block, data: bytes) -> None:
        kind, rest = der.kind(data), der.after(data)
        if der.PRIVATE_KEY in (kind, der.kind(rest)):
            self._private(block.line, "a private key between CERTIFICATE markers")
        elif (wrong := _wrong_length(data, rest)) is not None:
            self._report(BAD_LENGTH, block.line, wrong, "copy the certificate again; one block, one certificate")
        elif kind != "certificate":
            what = "something else" if kind == "unknown" else f"a {kind}"
            self._not_a_certificate(block, kind, f"the block does not hold a certificate but {what}")
        else:
            self._parse(block, data)

    def _not_a_certificate(self, block: Block, what: str, message: str) -> None:
        fix = block_fix(self._file, what, block, alone=self._alone)
        self._report(NOT_A_CERTIFICATE, block.line, message, fix)

    def _parse(self, block: Block, data: bytes) -> None:
        result = parse(data, Location(self._file, block.line))
        if not isinstance(result, Problem):
            self.parsed.append(result)
        elif (kind := der.signed_kind(data)) != "certificate":
            self._not_a_certificate(block, kind, f"the block does not hold a certificate but a {kind}")
        else:
            self.problems.append(result)

    def _look_for_putty(self, text: str) -> None:
        if (match := _PUTTY.search(text)) is not None:
            self._private(len(LINE_END.findall(text, 0, match.start())) + 1, "a PuTTY private key")

    def _private(self, line: int, what: str) -> None:
        self._report(PRIVATE_KEY, line, f"the file holds {what}", _KEY_FIX)

    def _report(self, rule: Rule, line: int, message: str, fix: str) -> None:
        self.problems.append(rule.at(Location(self._file, line), message, fix=fix))


def _defect(block: Block, encoded: str) -> tuple[int, str] | None:
    """Return the line and nature of what is no base64 in a block, if anything."""
    if encoded and len(encoded) % 4 == 0 and _BASE64.fullmatch(encoded):
        return None
    for number, line in enumerate(block.body, start=block.line + 1):
        stranger = _STRANGER.search(line.strip(" \t"))
        if stranger is not None:
            return number, f"the block has a character that is no base64: {printable(stranger[0])!r}"
    if not encoded:
        return block.line, "the block is empty"
    if not _BASE64.fullmatch(encoded):
        return block.line, "the block has base64 padding (`=`) before its end"
    return block.line, "the block's base64 is cut short: characters or the padding (`=`) are missing"


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
