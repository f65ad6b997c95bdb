"""PEM framing: the lines of a file become blocks, strictly, and everything that is not a clean block is named.

Readers disagree about sloppy files: one skips what another refuses, and a block with a lost marker vanishes without a
word. So a marker stands alone on its line, in column 1, and every BEGIN has its END with the same label. Text between
blocks is free (it may be in any encoding, and may be secret) and is dropped, unless it looks like a block gone wrong.
No line of a file is ever repeated in a problem.

Source: RFC 7468 section 3, the strict grammar, with white space inside a block tolerated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from reconciler.core.hostile import printable
from reconciler.core.problems import Location, Problem, Rule, Severity

UNCLOSED_BLOCK = Rule(
    "pem-unclosed-block",
    Severity.ERROR,
    "A BEGIN line without its END line is a block that was cut off or overwritten.",
)
UNOPENED_BLOCK = Rule(
    "pem-unopened-block", Severity.ERROR, "An END line without its BEGIN line is a block that OpenSSL skips silently."
)
LABEL_MISMATCH = Rule(
    "pem-label-mismatch", Severity.ERROR, "BEGIN and END lines must name the same thing, or two blocks were mixed up."
)
MALFORMED_MARKER = Rule(
    "pem-malformed-marker",
    Severity.ERROR,
    "A marker that is indented, shares its line or lacks hyphens is a block for some readers and text for others.",
)
JOINED_MARKERS = Rule(
    "pem-joined-markers",
    Severity.ERROR,
    "Two files joined without a line break between them: OpenSSL refuses or skips what other readers take.",
)
STRAY_BASE64 = Rule(
    "pem-stray-base64",
    Severity.ERROR,
    "Encoded data outside BEGIN and END lines is a block that has lost its markers and would be skipped silently.",
)
CONFLICT_MARKER = Rule(
    "pem-conflict-marker",
    Severity.ERROR,
    "A file with git conflict markers holds both sides, and most readers would trust both.",
)

LINE_END: Final = re.compile(r"\r\n|\r|\n")

# Repetitions are bounded, for the time and memory to search a line must not grow with its square.
_LABEL = r"([!-,.-~]{1,64}(?:[- ][!-,.-~]{1,64}){0,7})"
_MARKER = re.compile(rf"-----(BEGIN|END) {_LABEL}-----[ \t]*")
_JOINED = re.compile(rf"-----END {_LABEL}-----[ \t]*-----BEGIN {_LABEL}-----[ \t]*")
_NEARLY = re.compile(
    r"(?i:--\s{0,9}(?:BEGIN|END)\b.{0,80}(?:CERTIFICATE|KEY|CRL|PKCS7|CMS))"
    r"|\b(?:BEGIN|END) [A-Z0-9 ]{0,40}(?:CERTIFICATE|PRIVATE KEY)\b",
    re.ASCII,
)
_BODY = re.compile(r"[A-Za-z0-9+/]+")  # nearly every line of a file, and never a marker
_STRAY = re.compile(r"[ \t]*MI[A-Za-z0-9+/]{38,}={0,2}[ \t]*")
_CONFLICT = re.compile(r"(?:<{7}|>{7}|\|{7})(?: .*)?")
_SHOWN_LABEL = 60


@dataclass(frozen=True, slots=True)
class Block:
    """One block: its label, the lines of its BEGIN and END, and its body's lines, which may be secret.

    A private key's has no body, and is there even if the block is damaged.
    """

    label: str
    line: int
    end: int
    body: tuple[str, ...] = field(default=(), repr=False)

    @property
    def private(self) -> bool:
        """Whether the label says that this is a private key."""
        return "PRIVATE KEY" in self.label.upper()


@dataclass(slots=True)
class _Open:
    """A block whose END has not come yet. Without a label its BEGIN was malformed, and whatever ends it will do."""

    label: str
    line: int
    body: list[str] = field(default_factory=list, repr=False)


def blocks(file: str, text: str) -> tuple[tuple[Block, ...], tuple[Problem, ...]]:
    """Return the blocks of `text` in order, and what is wrong with the framing."""
    framing = _Framing(file)
    for number, line in enumerate(LINE_END.split(text), start=1):
        framing.take(number, line)
    framing.finish()
    return tuple(framing.blocks), tuple(framing.problems)


class _Framing:
    """The state between two lines: at most one open block."""

    def __init__(self, file: str) -> None:
        self.blocks: list[Block] = []
        self.problems: list[Problem] = []
        self._file = file
        self._open: _Open | None = None
        self._in_stray = False

    def take(self, number: int, line: str) -> None:
        if self._open is not None and _BODY.fullmatch(line):
            self._open.body.append(line)
        else:
            self._judge(number, line)

    def _judge(self, number: int, line: str) -> None:
        marker = _MARKER.fullmatch(line)
        stray, self._in_stray = self._in_stray, False
        if marker is not None:
            self._mark(number, marker[1], marker[2])
        elif (joined := _JOINED.fullmatch(line)) is not None:
            self._joined(number, joined[1], joined[2])
        elif _NEARLY.search(line):
            self._malformed(number, line)
        elif _CONFLICT.fullmatch(line):
            self._conflict(number)
        elif self._open is not None:
            self._open.body.append(line)
        elif _STRAY.fullmatch(line):
            self._stray(number, again=stray)

    def finish(self) -> None:
        """Close the file: what is still open was cut off."""
        if self._open is not None:
            self._unclosed(self._open)

    def _mark(self, number: int, word: str, label: str) -> None:
        if word == "BEGIN":
            self.finish()
            self._begin(number, label)
        elif self._open is None:
            message = f"END {_shown(label)} has no BEGIN line before it"
            self._report(UNOPENED_BLOCK, number, message, "copy the whole certificate again, BEGIN line included")
        else:
            self._close(number, self._open, label)

    def _joined(self, number: int, ended: str, begun: str) -> None:
        self._mark(number, "END", ended)
        self._mark(number, "BEGIN", begun)
        message = (
            "an END and a BEGIN marker share this line: two files were joined, the first without a final line break"
        )
        fix = "break the line before -----BEGIN; `awk 1 a.pem b.pem` joins files with the breaks that `cat` leaves out"
        self._report(JOINED_MARKERS, number, message, fix)

    def _begin(self, number: int, label: str) -> None:
        self._open = _Open(label, number)
        key = Block(label, number, number)
        if key.private:
            self.blocks.append(key)

    def _close(self, number: int, opened: _Open, label: str) -> None:
        self._open = None
        block = Block(label, opened.line, number, tuple(opened.body))
        if label == opened.label and not block.private:
            self.blocks.append(block)
        if label == opened.label or not opened.label:
            return
        message = f"the block begins as {_shown(opened.label)} (line {opened.line}) and ends as {_shown(label)}"
        self._report(LABEL_MISMATCH, number, message, "copy the certificate again; both lines must say CERTIFICATE")

    def _unclosed(self, opened: _Open) -> None:
        if opened.label:
            message = f"BEGIN {_shown(opened.label)} has no END line"
            self._report(UNCLOSED_BLOCK, opened.line, message, "copy the whole certificate again, END line included")

    def _malformed(self, number: int, line: str) -> None:
        begins = line.upper().rfind("BEGIN") > line.upper().rfind("END")
        self._open = _Open("", number) if begins else None
        if "PRIVATE KEY" in line.upper():
            self.blocks.append(Block("PRIVATE KEY", number, number))
        message = "a BEGIN or END marker is not written as it must be, alone on its line"
        fix = (
            "write exactly -----BEGIN CERTIFICATE----- or -----END CERTIFICATE----- in column 1, nothing else beside it"
        )
        self._report(MALFORMED_MARKER, number, message, fix)

    def _conflict(self, number: int) -> None:
        message = "the file holds a git conflict marker, so it is two versions at once"
        self._report(CONFLICT_MARKER, number, message, "resolve the conflict and keep the certificates you mean")

    def _stray(self, number: int, *, again: bool) -> None:
        self._in_stray = True
        if not again:
            message = "encoded data stands outside of any block; its BEGIN and END lines are missing"
            fix = "put -----BEGIN CERTIFICATE----- before it and -----END CERTIFICATE----- after it, or remove it"
            self._report(STRAY_BASE64, number, message, fix)

    def _report(self, rule: Rule, number: int, message: str, fix: str) -> None:
        self.problems.append(rule.at(Location(self._file, number), message, fix=fix))


def _shown(label: str) -> str:
    return printable(label, _SHOWN_LABEL)
