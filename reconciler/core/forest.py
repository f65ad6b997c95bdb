"""Who issued whom among the certificates of one bundle.

An issuer is one by name, by the identifiers that the issued certificate names *and* by signature. The work is bounded
by whoever builds a forest (`reconciler.core.trust` does before it checks a single signature).

Source: RFC 5280 section 6.1, and `X509_check_issued`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from reconciler.core.certificate import Check, Name, ParsedCertificate, issued

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def unique(every: Iterable[ParsedCertificate]) -> list[ParsedCertificate]:
    """Return each certificate once, where it stands first, in an order that only the set decides."""
    by_fingerprint: dict[str, ParsedCertificate] = {}
    for each in every:
        by_fingerprint.setdefault(each.certificate.sha256, each)
    return sorted(by_fingerprint.values(), key=_rank)


def by_name(members: Iterable[ParsedCertificate]) -> Mapping[Name, list[ParsedCertificate]]:
    """Return the certificates by subject, in the order given."""
    named: dict[Name, list[ParsedCertificate]] = defaultdict(list)
    for each in members:
        named[each.subject].append(each)
    return named


def named_otherwise(child: ParsedCertificate, parent: ParsedCertificate) -> bool:
    """Return whether the identifiers that `child` gives for its issuer are not those of `parent`."""
    if child.issuer_key and parent.key_id and child.issuer_key != parent.key_id:
        return True
    return child.issuer_serial is not None and child.issuer_serial != parent.serial


class Forest:
    """The trees of one bundle. `members` are unique and in rank order; lists of them stay so."""

    def __init__(self, members: Sequence[ParsedCertificate]) -> None:
        self.members = members
        self.named = by_name(members)
        self._children: dict[str, list[ParsedCertificate]] = defaultdict(list)
        self._parented: set[str] = set()
        for each in members:
            if not each.self_signed:
                self._link(each)

    def children(self, parsed: ParsedCertificate) -> Sequence[ParsedCertificate]:
        """Return what this certificate has issued."""
        return self._children.get(parsed.certificate.sha256, ())

    def has_issuer(self, parsed: ParsedCertificate) -> bool:
        """Return whether another member issued this certificate."""
        return parsed.certificate.sha256 in self._parented

    def tops(self) -> list[ParsedCertificate]:
        """Return where descending must begin to meet every member: roots, the orphaned, one of each rootless ring."""
        starts = sorted(self.members, key=lambda each: (not each.self_signed, self.has_issuer(each)))
        tops: list[ParsedCertificate] = []
        seen: set[str] = set()
        for start in starts:
            if start.certificate.sha256 not in seen:
                tops.append(start)
                self.below([start], seen)
        return tops

    def below(self, tops: Sequence[ParsedCertificate], seen: set[str]) -> list[ParsedCertificate]:
        """Return these and all they issued that is not in `seen`, level by level; `seen` grows by them."""
        found: list[ParsedCertificate] = []
        level = list(tops)
        while level:
            found.extend(level)
            seen.update(each.certificate.sha256 for each in level)
            issued_here = {each.certificate.sha256: each for parent in level for each in self.children(parent)}
            level = sorted((each for key, each in issued_here.items() if key not in seen), key=_rank)
        return found

    def ordered(self) -> list[ParsedCertificate]:
        """Return roots and what is below them, then the same for what has no root here."""
        tops, seen = self.tops(), set[str]()
        rooted = self.below([top for top in tops if top.self_signed], seen)
        return rooted + self.below([top for top in tops if not top.self_signed], seen)

    def own_root(self, parsed: ParsedCertificate) -> ParsedCertificate | None:
        """Return the self-signed certificate of the same CA, name and key, if this is one that another CA signed."""
        roots = [] if parsed.self_signed else [each for each in self.named[parsed.subject] if each.self_signed]
        if not roots:
            return None
        key = parsed.encoded.public_key()
        return next((root for root in roots if root.encoded.public_key() == key), None)

    def _link(self, child: ParsedCertificate) -> None:
        for parent in self.named.get(child.issuer, ()):
            if parent is not child and _made(child, parent):
                self._children[parent.certificate.sha256].append(child)
                self._parented.add(child.certificate.sha256)


def _rank(parsed: ParsedCertificate) -> tuple[Name, float, str]:
    certificate = parsed.certificate
    return (parsed.subject, -certificate.not_after.timestamp(), certificate.sha256)


def _made(child: ParsedCertificate, parent: ParsedCertificate) -> bool:
    """Return whether `parent`, whose name fits, issued the certificate."""
    if named_otherwise(child, parent):
        return False
    return issued(child.encoded, parent.encoded.public_key()) is Check.GOOD
