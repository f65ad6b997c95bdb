"""Trust bundles: certificates of any files in any order become one canonical text, or problems.

The bytes depend only on the set of certificates. Roots come first, then level by level each intermediate after its
issuer; equals are ordered by subject, the later expiry first, then by fingerprint. An issuer is one by name, by key
identifier *and* by signature. Nothing is trusted because it stands in a certain place.

Source: RFC 5280 section 6.1, and what OpenSSL makes of each case.
"""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from reconciler.core.certificate import Check, Name, ParsedCertificate, issued
from reconciler.core.fitness import issues, lasting_problems, time_problems
from reconciler.core.model import TrustBundle
from reconciler.core.problems import Location, Problem, Rule, Severity, has_errors, in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from reconciler.core.pem import PemFile

MAX_CERTIFICATES: Final = 500
MAX_NAMESAKES: Final = 20
MAX_CHECKS: Final = 2_000

EMPTY_BUNDLE = Rule(
    "bundle-empty", Severity.ERROR, "A bundle without a certificate would mean the default trust, not none."
)
TOO_MANY_CERTIFICATES = Rule(
    "bundle-too-large",
    Severity.ERROR,
    "A bundle names the CAs of one upstream; hundreds of them trust everybody and stall a run.",
)
DUPLICATE_CERTIFICATE = Rule(
    "bundle-duplicate", Severity.INFO, "A certificate given twice is stored once; readers count duplicates differently."
)
MISSING_ISSUER = Rule(
    "bundle-missing-root",
    Severity.WARNING,
    "Up to Python 3.12 an intermediate is no anchor without its root (2), unless the system trusts that root.",
)
SAME_SUBJECT = Rule(
    "bundle-same-subject",
    Severity.WARNING,
    "Of two CAs with one name but different keys some clients try only the first (7); in a rotation it is right.",
)
BAD_SELF_SIGNATURE = Rule(
    "bundle-bad-self-signature",
    Severity.ERROR,
    "A root that its own key did not sign was altered or mixed up; OpenSSL does not look, so it would be trusted.",
)
BAD_SIGNATURE = Rule(
    "bundle-bad-signature",
    Severity.ERROR,
    "An altered intermediate is trusted like any other wherever partial chains are allowed (Python 3.13 and later).",
)
PATH_TOO_LONG = Rule(
    "bundle-path-too-long", Severity.ERROR, "A CA that allows fewer intermediates than stand below it is refused (25)."
)


def build_bundle(
    files: Sequence[PemFile], now: datetime, *, expiry_warning_days: int = 30
) -> tuple[TrustBundle | None, tuple[Problem, ...]]:
    """Return the bundle of these files and what is wrong with it; None if there is an error, in a file's own too.

    The files' own problems are not repeated. `now` is aware. A warning is given `expiry_warning_days` before expiry.
    """
    every = sorted((each for file in files for each in file.parsed), key=_place)
    unique = _unique(every)
    broken = any(has_errors(file.problems) for file in files)
    excess = _excess(unique)
    if excess or not unique:
        return None, excess if excess or broken else (_empty(files),)
    forest = _Forest(unique)
    problems = [*_duplicates(every, unique), *_set_problems(forest)]
    for each in unique:
        problems.extend(time_problems(each, now, expiry_warning_days))
        problems.extend(lasting_problems(each))
    usable = not broken and not has_errors(problems)
    return (_bundle(_ordered(forest)) if usable else None), in_order(problems)


def _place(parsed: ParsedCertificate) -> tuple[str, int, str]:
    return (parsed.certificate.file, parsed.certificate.line, parsed.certificate.sha256)


def _rank(parsed: ParsedCertificate) -> tuple[Name, float, str]:
    certificate = parsed.certificate
    return (parsed.subject, -certificate.not_after.timestamp(), certificate.sha256)


def _unique(every: Sequence[ParsedCertificate]) -> list[ParsedCertificate]:
    """Return each certificate once, where it stands first, in an order that only the set decides."""
    by_fingerprint: dict[str, ParsedCertificate] = {}
    for each in every:
        by_fingerprint.setdefault(each.certificate.sha256, each)
    return sorted(by_fingerprint.values(), key=_rank)


def _bundle(ordered: Sequence[ParsedCertificate]) -> TrustBundle:
    text = "\n".join(each.certificate.pem for each in ordered)
    digest = sha256(text.encode("ascii")).hexdigest()
    return TrustBundle(text, digest, tuple(each.certificate for each in ordered))


class _Forest:
    """Who issued whom within one bundle. `members` are unique and in rank order; lists of them stay so."""

    def __init__(self, members: Sequence[ParsedCertificate]) -> None:
        self.members = members
        self.named = _by_name(members)
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

    def _link(self, child: ParsedCertificate) -> None:
        for parent in self.named.get(child.issuer, ()):
            if parent is not child and _made(child, parent):
                self._children[parent.certificate.sha256].append(child)
                self._parented.add(child.certificate.sha256)


def _by_name(members: Sequence[ParsedCertificate]) -> Mapping[Name, list[ParsedCertificate]]:
    named: dict[Name, list[ParsedCertificate]] = defaultdict(list)
    for each in members:
        named[each.subject].append(each)
    return named


def _made(child: ParsedCertificate, parent: ParsedCertificate) -> bool:
    """Return whether `parent`, whose name fits, issued the certificate."""
    if child.issuer_key and parent.key_id and child.issuer_key != parent.key_id:
        return False
    return issued(child.encoded, parent.encoded.public_key()) is Check.GOOD


def _ordered(forest: _Forest) -> list[ParsedCertificate]:
    """Return roots and what is below them, then the same for what has no root here."""
    tops, seen = forest.tops(), set[str]()
    rooted = forest.below([top for top in tops if top.self_signed], seen)
    return rooted + forest.below([top for top in tops if not top.self_signed], seen)


def _empty(files: Sequence[PemFile]) -> Problem:
    where = Location(files[0].file) if files else Location("")
    return EMPTY_BUNDLE.at(where, "the bundle has no certificate", fix="give at least one file with a CA certificate")


def _excess(unique: Sequence[ParsedCertificate]) -> tuple[Problem, ...]:
    """Return why the bundle is too large to work on, if it is: signature checks grow with namesakes."""
    fix = "keep only the CAs this upstream needs"
    if len(unique) > MAX_CERTIFICATES:
        message = f"the bundle has {len(unique)} certificates; at most {MAX_CERTIFICATES} are taken"
        return (TOO_MANY_CERTIFICATES.at(unique[0].location, message, fix=fix),)
    named = _by_name(unique)
    crowds = [crowd for crowd in named.values() if len(crowd) > MAX_NAMESAKES]
    if not crowds and sum(len(named.get(each.issuer, ())) for each in unique) > MAX_CHECKS:
        crowds = [max(named.values(), key=len)]
    return tuple(
        TOO_MANY_CERTIFICATES.at(
            crowd[0].location,
            f"{len(crowd)} certificates are named {crowd[0].certificate.subject}; "
            f"at most {MAX_NAMESAKES} are taken, and fewer where many intermediates name them as their issuer",
            fix=fix,
        )
        for crowd in crowds
    )


def _duplicates(every: Sequence[ParsedCertificate], unique: Sequence[ParsedCertificate]) -> Iterator[Problem]:
    kept = {each.certificate.sha256: each for each in unique}
    for each in every:
        first = kept[each.certificate.sha256].certificate
        if each.certificate is not first:
            message = f"{first.subject} is given twice, in line {first.line} of {first.file} too; it is stored once"
            yield DUPLICATE_CERTIFICATE.at(each.location, message)


def _set_problems(forest: _Forest) -> Iterator[Problem]:
    for top in forest.tops():
        if not top.self_signed:
            yield from _unanchored(forest, top)
    for namesakes in forest.named.values():
        yield from _ambiguous([each for each in namesakes if issues(each)])
    for each in forest.members:
        yield from _too_long(forest, each)


def _unanchored(forest: _Forest, top: ParsedCertificate) -> Iterator[Problem]:
    """Yield what it means that no root is above this certificate."""
    certificate = top.certificate
    if top.self_signature is Check.BAD:
        if not forest.has_issuer(top):
            message = f"{certificate.subject} names itself as its issuer, but its own key did not sign it"
            fix = "get the CA's certificate again from its operator; this one was altered or mixed up"
            yield BAD_SELF_SIGNATURE.at(top.location, message, fix=fix)
    elif _altered(forest, top):
        message = f"the signature of {certificate.subject} does not fit the key of its issuer, which is in this bundle"
        fix = "get the intermediate's certificate again from its operator; this one was altered"
        yield BAD_SIGNATURE.at(top.location, message, fix=fix)
    elif issues(top):
        message = f"{certificate.subject} is an intermediate, and the bundle lacks its issuer {certificate.issuer}"
        fix = f"add the root certificate: {certificate.issuer}"
        yield MISSING_ISSUER.at(top.location, f"{message}{_namesake(forest, top)}", fix=fix)


def _namesake(forest: _Forest, top: ParsedCertificate) -> str:
    """Return what to say of a CA in the bundle that has the missing issuer's name, if there is one."""
    checks = {issued(top.encoded, each.encoded.public_key()) for each in forest.named.get(top.issuer, ())}
    if Check.UNCHECKABLE in checks:
        return "; one has that name, but whether it made the signature could not be checked"
    return "; the CA of that name in this bundle has another key" if checks else ""


def _altered(forest: _Forest, top: ParsedCertificate) -> bool:
    """Return whether the very key that the certificate names as its issuer's is here, and did not sign it."""
    return any(
        parent.key_id == top.issuer_key and issued(top.encoded, parent.encoded.public_key()) is Check.BAD
        for parent in forest.named.get(top.issuer, ())
        if parent.key_id
    )


def _ambiguous(namesakes: Sequence[ParsedCertificate]) -> Iterator[Problem]:
    for each in namesakes[1:]:
        first = namesakes[0]
        if each.encoded.public_key() != first.encoded.public_key():
            where = f"line {first.certificate.line} of {first.certificate.file}"
            message = f"{each.certificate.subject} has the same name as the CA in {where}, but another key"
            yield SAME_SUBJECT.at(each.location, message, fix="after a rotation, remove the CA that is no longer used")


def _too_long(forest: _Forest, top: ParsedCertificate) -> Iterator[Problem]:
    """Yield each CA below `top` that stands deeper than its path length allows. Self-issued ones do not count."""
    allowed = top.basic_constraints.path_length if top.basic_constraints is not None else None
    if allowed is None:
        return
    for each, depth in _depths(forest, top):
        if depth > allowed and issues(each):
            message = f"{_shown(top)} allows {allowed} intermediates below it, too few for {_shown(each)}"
            fix = "remove this intermediate; nothing it issues can be trusted through that CA"
            yield PATH_TOO_LONG.at(each.location, message, fix=fix)


def _depths(forest: _Forest, top: ParsedCertificate) -> list[tuple[ParsedCertificate, int]]:
    depth = {top.certificate.sha256: 0}
    reached = forest.below([top], set())
    for parent in reached:
        below = depth[parent.certificate.sha256]
        for child in forest.children(parent):
            depth.setdefault(child.certificate.sha256, below + (child.self_signature is None))
    return [(each, depth[each.certificate.sha256]) for each in reached]


def _shown(parsed: ParsedCertificate) -> str:
    return parsed.certificate.subject
