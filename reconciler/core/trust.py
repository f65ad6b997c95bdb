"""Trust bundles: certificates of any files in any order become one canonical text, or problems.

The bytes depend only on the set of certificates. Roots come first, then level by level each intermediate after its
issuer; equals are ordered by subject, the later expiry first, then by fingerprint. An issuer is one by name, by key
identifier *and* by signature. Nothing is trusted because it stands in a certain place.

Source: RFC 5280 section 6.1, and what OpenSSL makes of each case.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from hashlib import sha256
from itertools import count
from typing import TYPE_CHECKING, Final

from reconciler.core.certificate import Check, ParsedCertificate, issued
from reconciler.core.fitness import issues, lasting_problems, time_problems
from reconciler.core.forest import Forest, by_name, unique
from reconciler.core.model import TrustBundle
from reconciler.core.problems import Location, Problem, Rule, Severity, has_errors, in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
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
CROSS_SIGNED = Rule(
    "bundle-cross-signed",
    Severity.INFO,
    "A CA that is both self-signed and signed by another is trusted by the first; the second is then of no use.",
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
    every, members = _members(files)
    broken = any(has_errors(file.problems) for file in files)
    excess = _excess(members)
    if excess or not members:
        return None, excess if excess or broken else (_empty(files),)
    forest = Forest(members)
    problems = [*_duplicates(every), *_set_problems(forest, now)]
    for each in members:
        problems.extend(time_problems(each, now, expiry_warning_days))
        problems.extend(lasting_problems(each))
    usable = not broken and not has_errors(problems)
    return (_bundle(forest.ordered()) if usable else None), in_order(problems)


def anchors(files: Sequence[PemFile]) -> list[ParsedCertificate]:
    """Return where the chains of a bundle end: its roots, and the topmost certificates of what has no root here."""
    return Forest(_members(files)[1]).tops()


def _members(files: Sequence[PemFile]) -> tuple[list[ParsedCertificate], list[ParsedCertificate]]:
    """Return every certificate by its place, and each once."""
    every = sorted((each for file in files for each in file.parsed), key=_place)
    return every, unique(every)


def _place(parsed: ParsedCertificate) -> tuple[str, int, str]:
    return (parsed.certificate.file, parsed.certificate.line, parsed.certificate.sha256)


def _bundle(ordered: Sequence[ParsedCertificate]) -> TrustBundle:
    text = "\n".join(each.certificate.pem for each in ordered)
    digest = sha256(text.encode("ascii")).hexdigest()
    return TrustBundle(text, digest, tuple(each.certificate for each in ordered))


def _empty(files: Sequence[PemFile]) -> Problem:
    where = Location(files[0].file) if files else Location("")
    return EMPTY_BUNDLE.at(where, "the bundle has no certificate", fix="give at least one file with a CA certificate")


def _excess(members: Sequence[ParsedCertificate]) -> tuple[Problem, ...]:
    """Return why the bundle is too large to work on, if it is: signature checks grow with namesakes."""
    fix = "keep only the CAs this upstream needs"
    if len(members) > MAX_CERTIFICATES:
        message = f"the bundle has {len(members)} certificates; at most {MAX_CERTIFICATES} are taken"
        return (TOO_MANY_CERTIFICATES.at(members[0].location, message, fix=fix),)
    named = by_name(members)
    crowds = [crowd for crowd in named.values() if len(crowd) > MAX_NAMESAKES]
    if not crowds and sum(len(named.get(each.issuer, ())) for each in members) > MAX_CHECKS:
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


def _duplicates(every: Sequence[ParsedCertificate]) -> Iterator[Problem]:
    copies: dict[str, list[ParsedCertificate]] = defaultdict(list)
    for each in every:
        copies[each.certificate.sha256].append(each)
    for first, *others in copies.values():
        if others:
            times = "twice" if len(others) == 1 else f"{len(others) + 1} times"
            place = f"line {first.certificate.line} of {first.certificate.file}"
            message = f"{first.certificate.subject} is given {times}, first in {place}; it is stored once"
            yield DUPLICATE_CERTIFICATE.at(others[0].location, message, fix="keep the first, and remove the rest")


def _set_problems(forest: Forest, now: datetime) -> Iterator[Problem]:
    for top in forest.tops():
        if not top.self_signed:
            yield from _unanchored(forest, top)
    for namesakes in forest.named.values():
        yield from _ambiguous([each for each in namesakes if issues(each)])
    for each in forest.members:
        root = forest.own_root(each)
        if root is not None:
            yield _cross_signed(each, root, now)
    yield from _too_long(forest)


def _unanchored(forest: Forest, top: ParsedCertificate) -> Iterator[Problem]:
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
    elif issues(top) and forest.own_root(top) is None:
        message = f"{certificate.subject} is an intermediate, and the bundle lacks its issuer {certificate.issuer}"
        consequence = "Python up to 3.12 refuses it as an anchor (2), Python 3.13 and Go (Kuadrant) accept it"
        fix = f"add the root certificate: {certificate.issuer}"
        yield MISSING_ISSUER.at(top.location, f"{message}{_namesake(forest, top)}; {consequence}", fix=fix)


def _namesake(forest: Forest, top: ParsedCertificate) -> str:
    """Return what to say of a CA in the bundle that has the missing issuer's name, if there is one."""
    checks = {issued(top.encoded, each.encoded.public_key()) for each in forest.named.get(top.issuer, ())}
    if Check.UNCHECKABLE in checks:
        return " (one has that name, but whether it made the signature could not be checked)"
    if Check.GOOD in checks:
        return " (one has its name and key, but not the identifier or serial number that this certificate asks for)"
    return " (the CA of that name in this bundle has another key)" if checks else ""


def _altered(forest: Forest, top: ParsedCertificate) -> bool:
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


def _cross_signed(cross: ParsedCertificate, root: ParsedCertificate, now: datetime) -> Problem:
    valid = root.certificate.not_before <= now <= root.certificate.not_after
    signer = cross.certificate.issuer
    message = (
        f"one CA, {_shown(cross)}, is here twice: self-signed ({_short(root)}) and signed by {signer} ({_short(cross)})"
    )
    needless, kept = (cross, "the self-signed one is an anchor by itself") if valid else (root, "it is not valid now")
    return CROSS_SIGNED.at(cross.location, message, fix=f"{_short(needless)} can be removed: {kept}")


def _too_long(forest: Forest) -> Iterator[Problem]:
    """Yield each CA that stands deeper than a CA above it allows, unless another way down to it is short enough."""
    limits = [(each, allowed) for each in forest.members if (allowed := _path_length(each)) is not None]
    reached = _reached(forest) if limits else set()
    for top, allowed in limits:
        for each, depth in _depths(forest, top):
            if depth > allowed and issues(each) and each.certificate.sha256 not in reached:
                message = f"{_shown(top)} allows {allowed} intermediates below it, too few for {_shown(each)}"
                fix = "remove this intermediate; nothing it issues can be trusted through that CA"
                yield PATH_TOO_LONG.at(each.location, message, fix=fix)


def _path_length(parsed: ParsedCertificate) -> int | None:
    return parsed.basic_constraints.path_length if parsed.basic_constraints is not None else None


def _reached(forest: Forest) -> set[str]:
    """Return the fingerprints that some way down reaches within every path length on it.

    Ways are walked in the order of how many more intermediates they allow, the widest first, so none is walked twice.
    A cross-signed CA is reached by its own root.
    """
    numbers = count()
    ways = [(-math.inf, next(numbers), top) for top in forest.tops()]
    reached = {each.certificate.sha256 for each in forest.members if forest.own_root(each) is not None}
    walked: set[str] = set()
    while ways:
        short, _, each = heapq.heappop(ways)
        if short > 0 or each.certificate.sha256 in walked:
            continue
        walked.add(each.certificate.sha256)
        allowed = _path_length(each)
        room = -short if allowed is None else min(-short, allowed)
        for child in forest.children(each):
            heapq.heappush(ways, (_counted(child) - room, next(numbers), child))
    return reached | walked


def _counted(parsed: ParsedCertificate) -> int:
    """Return what a certificate takes of a path length: self-issued ones take nothing."""
    return int(parsed.self_signature is None)


def _depths(forest: Forest, top: ParsedCertificate) -> list[tuple[ParsedCertificate, int]]:
    depth = {top.certificate.sha256: 0}
    reached = forest.below([top], set())
    for parent in reached:
        below = depth[parent.certificate.sha256]
        for child in forest.children(parent):
            depth.setdefault(child.certificate.sha256, below + _counted(child))
    return [(each, depth[each.certificate.sha256]) for each in reached]


def _shown(parsed: ParsedCertificate) -> str:
    return parsed.certificate.subject


def _short(parsed: ParsedCertificate) -> str:
    return f"{parsed.certificate.sha256[:16]}…"
