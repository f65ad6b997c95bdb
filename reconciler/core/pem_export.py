"""PEM texts as a store holds them -> PEM files as a repository has them, with readable names and comments.

What is written depends on the certificates and their order alone: texts that differ in nothing else share one file.
Subjects are hostile: a comment that a reader of PEM could take for more than one does without.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from reconciler.core.hostile import printable
from reconciler.core.pem import read_pem
from reconciler.core.problems import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from reconciler.core.model import Certificate

DIRECTORY: Final = "certificates"

_COMMON_NAME: Final = re.compile(r"(?:^|[,+])CN=((?:\\.|[^\\,+])*)")
_NOT_IN_STEMS: Final = re.compile(r"[^a-z0-9]+")
_STEM_LIMIT: Final = 60
_SUBJECT_LIMIT: Final = 200
_SUFFIXES: Final = (8, 64)
"""How many digits of its digest are put behind a name that is taken; with all of them it is its own."""


class PemFiles:
    """The files for the PEM texts of a store, each text looked at once. `data` has them by relative path."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.data: dict[str, bytes] = {}
        self._obstacles: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._fill(set(texts))

    def obstacle(self, text: str) -> str:
        """Return why a text is no PEM file that could be used, or nothing."""
        return self._obstacles.get(text, "")

    def name(self, text: str) -> str:
        """Return the file of a text without obstacles."""
        return self._names[text]

    def _fill(self, texts: set[str]) -> None:
        contents: dict[str, bytes] = {}
        stems: dict[bytes, str] = {}
        for text in texts:
            certificates = self._certificates(text)
            if certificates:
                contents[text] = _content(certificates)
                stems[contents[text]] = _stem(certificates[0].subject)
        names = _unique(stems)
        self._names = {text: names[content] for text, content in contents.items()}
        self.data = {name: content for content, name in names.items()}

    def _certificates(self, text: str) -> list[Certificate]:
        """Return the certificates of a text, each once; none after noting why it cannot be used."""
        read = read_pem("row.pem", text.encode("utf-8", "replace"))
        errors = [problem for problem in read.problems if problem.severity is Severity.ERROR]
        if errors:
            self._obstacles[text] = f"its PEM text, line {errors[0].location.line}: {errors[0].message}"
            return []
        return list({each.sha256: each for each in read.certificates}.values())


def _content(certificates: list[Certificate]) -> bytes:
    """Return the certificates with a comment above each, as long as that reads as just these certificates."""
    commented = _text(certificates, subjects=True)
    read = read_pem("row.pem", commented)
    if not read.problems and [each.sha256 for each in read.certificates] == [each.sha256 for each in certificates]:
        return commented
    return _text(certificates, subjects=False)


def _text(certificates: list[Certificate], *, subjects: bool) -> bytes:
    return "".join(f"{_comment(each, subject=subjects)}\n{each.pem}\n" for each in certificates).encode("ascii")


def _comment(certificate: Certificate, *, subject: bool) -> str:
    who = f"{_ascii(certificate.subject)}, " if subject else ""
    return f"# {who}expires {certificate.not_after:%Y-%m-%d}, sha256 {certificate.sha256}"


def _ascii(text: str) -> str:
    return printable(text, _SUBJECT_LIMIT).encode("ascii", "backslashreplace").decode()


def _stem(subject: str) -> str:
    """Return what a file is called after: the common name, or the whole subject where there is none."""
    common_name = _COMMON_NAME.search(subject)
    words = _NOT_IN_STEMS.sub("-", (common_name[1] if common_name else subject).lower())
    return words[:_STEM_LIMIT].strip("-") or "certificate"


def _unique(stems: Mapping[bytes, str]) -> dict[bytes, str]:
    """Return a file name for each content. It does not depend on the order in which they are given."""
    names: dict[bytes, str] = {}
    taken: set[str] = set()
    for content, stem in sorted(stems.items(), key=lambda pair: (pair[1], pair[0])):
        name = next(each for each in _candidates(stem, sha256(content).hexdigest()) if each not in taken)
        taken.add(name)
        names[content] = f"{DIRECTORY}/{name}.pem"
    return names


def _candidates(stem: str, digest: str) -> Iterator[str]:
    yield stem
    yield from (f"{stem}-{digest[:length]}" for length in _SUFFIXES)
