"""Whether one certificate is fit for its purpose: by its own fields and the time, no other certificate needed.

Mostly the purpose is to be trusted as a CA; a client's own certificate is looked at for its dates, and for being none.
Errors are what TLS libraries refuse everywhere; warnings what some of them do, Python 3.13 and later above all (it has
OpenSSL's strict checks on). No rule is an error that a root in a public trust store breaks, except expiry. Numbers in
the reasons are OpenSSL's verification errors.

Source: RFC 5280 section 4.2.1, OpenSSL `check_chain` and security level 2, and what the public stores hold.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from reconciler.core.certificate import Check, ParsedCertificate
from reconciler.core.forest import named_otherwise
from reconciler.core.problems import Problem, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

EXPIRED = Rule(
    "certificate-expired", Severity.ERROR, "An expired certificate fails every handshake that depends on it (10)."
)
NOT_YET_VALID = Rule(
    "certificate-not-yet-valid",
    Severity.ERROR,
    "A certificate from the future fails every handshake that needs it (9).",
)
EXPIRES_SOON = Rule(
    "certificate-expires-soon", Severity.WARNING, "An expiring certificate is replaced calmly now or at night later."
)
NOT_A_CA = Rule(
    "certificate-not-a-ca",
    Severity.ERROR,
    "A server's certificate vouches for nothing; OpenSSL looks for its issuer and does not find it (20, 79).",
)
CANNOT_SIGN = Rule(
    "ca-cannot-sign", Severity.ERROR, "A CA whose keyUsage lacks keyCertSign is refused as an issuer (79)."
)
WRONG_PURPOSE = Rule(
    "ca-wrong-purpose", Severity.ERROR, "A CA restricted to other purposes is refused for TLS servers (26)."
)
SERVER_PINNED = Rule(
    "server-certificate-pinned",
    Severity.INFO,
    "A self-signed server certificate works as its own anchor, for that server alone, until it is renewed.",
)
WEAK_KEY = Rule("certificate-weak-key", Severity.ERROR, "Keys below 112 bits of strength are refused by default (67).")
UNUSUAL_KEY = Rule(
    "certificate-unusual-key", Severity.WARNING, "Keys of this kind are not supported by every TLS library."
)
WEAK_HASH = Rule("certificate-weak-hash", Severity.ERROR, "A signature with SHA-1 or MD5 can be forged (68).")
WEAK_SELF_SIGNATURE = Rule(
    "root-weak-self-signature",
    Severity.INFO,
    "A root's own signature proves nothing, so its hash does not matter; public roots have such signatures too.",
)
UNKNOWN_CRITICAL = Rule(
    "certificate-unknown-critical-extension",
    Severity.ERROR,
    "A critical extension that is not understood must be refused, and is (34).",
)
EMPTY_SUBJECT = Rule("ca-empty-subject", Severity.ERROR, "A CA without a name cannot be named as an issuer.")
ODD_NAME = Rule(
    "certificate-odd-name",
    Severity.WARNING,
    "Control and bidirectional characters in a name deceive whoever reads it in a log or terminal.",
)
ODD_SERIAL = Rule(
    "certificate-odd-serial", Severity.WARNING, "Serial numbers are positive and at most 20 bytes; some parsers insist."
)
NO_BASIC_CONSTRAINTS = Rule(
    "ca-no-basic-constraints", Severity.WARNING, "Python 3.13 and later refuse an issuer without basicConstraints (79)."
)
BASIC_CONSTRAINTS_NOT_CRITICAL = Rule(
    "ca-basic-constraints-not-critical",
    Severity.WARNING,
    "Python 3.13 and later refuse an issuer whose basicConstraints is not critical (89).",
)
NO_KEY_USAGE = Rule(
    "ca-no-key-usage", Severity.WARNING, "Python 3.13 and later refuse an issuer without keyUsage (92)."
)
NO_KEY_ID = Rule(
    "ca-no-key-identifier",
    Severity.WARNING,
    "Python 3.13 and later refuse an issuer without subjectKeyIdentifier (86).",
)
NOT_STRICT = Rule(
    "ca-refused-when-strict",
    Severity.WARNING,
    "Python 3.13 and later refuse an issuer that breaks RFC 5280 in other ways too (87, 93).",
)
EXPLICIT_CURVE = Rule(
    "ca-explicit-curve",
    Severity.ERROR,
    "An issuer whose key spells its curve out instead of naming it is refused (94).",
)
FOREIGN_KEY_ID = Rule(
    "root-foreign-key-identifier",
    Severity.WARNING,
    "Up to Python 3.12 a root that names another key as its issuer's is no anchor (2).",
)
CLIENT_IS_CA = Rule(
    "client-certificate-is-a-ca",
    Severity.WARNING,
    "A client presents a certificate of its own; with the key of a CA it could issue certificates for anybody.",
)

# serverAuth, and the two older purposes that OpenSSL takes for it; it does not take anyExtendedKeyUsage.
_SERVER_PURPOSES: Final = frozenset({"1.3.6.1.5.5.7.3.1", "2.16.840.1.113730.4.1", "1.3.6.1.4.1.311.10.3.3"})
_ANY_PURPOSE: Final = "2.5.29.37.0"
_WEAK_HASHES: Final = {"md5": "MD5", "sha1": "SHA-1"}
_MIN_BITS: Final = {"RSA": 2048, "DSA": 2048}
_COMMON_KEYS: Final = frozenset({"secp256r1", "secp384r1", "secp521r1", "Ed25519"})
_WEAK_CURVES: Final = frozenset(
    {"secp192r1", "sect163k1", "sect163r2"}  # the others cryptography reads have 112 bits or more
)
_MAX_SERIAL: Final = 2**159
_REISSUE = "ask the CA's operator for a certificate made to RFC 5280"
_STRICT = f"{_REISSUE}; Python 3.13 and later refuse what this one has issued, though not the certificate itself"
_REPLACE = "replace it by the CA's renewed certificate; keep both only while both are valid"
_CLIENT_FIXES: Final = {
    EXPIRED.code: "put the renewed client certificate here, and its key where `tls.clientKeyFrom` says",
    EXPIRES_SOON.code: "have the client certificate renewed now; its key may change with it (`tls.clientKeyFrom`)",
}


def time_problems(parsed: ParsedCertificate, now: datetime, warning_days: int) -> Iterator[Problem]:
    """Yield what is wrong with the certificate at `now` (aware), or will be within `warning_days` days."""
    certificate, here = parsed.certificate, parsed.location
    if now > certificate.not_after:
        message = (
            f"{certificate.subject} expired on {_date(certificate.not_after)}, {_days(now - certificate.not_after)} ago"
        )
        yield EXPIRED.at(here, message, fix=_REPLACE)
    elif now < certificate.not_before:
        message = f"{certificate.subject} is not valid before {_date(certificate.not_before)}"
        yield NOT_YET_VALID.at(here, message, fix="add it when that day has come, or correct this machine's clock")
    elif certificate.not_after - now <= timedelta(days=warning_days):
        left = _days(certificate.not_after - now)
        message = f"{certificate.subject} expires on {_date(certificate.not_after)}, in {left}"
        yield EXPIRES_SOON.at(here, message, fix="add its successor next to it now, and remove this one afterwards")


def lasting_problems(parsed: ParsedCertificate) -> Iterator[Problem]:
    """Yield what is wrong with the certificate at any time."""
    for check in _CHECKS:
        problem = check(parsed)
        if problem is not None:
            yield problem
    if pinned(parsed):
        yield _pinned(parsed)
        return
    for strict in _CA_CHECKS:
        problem = strict(parsed)
        if problem is not None:
            yield problem


def client_problems(chain: Sequence[ParsedCertificate], now: datetime, warning_days: int) -> Iterator[Problem]:
    """Yield what is wrong with what a client presents: its own certificate, then the intermediates above it."""
    for each in chain:
        for problem in time_problems(each, now, warning_days):
            yield replace(problem, fix=_CLIENT_FIXES.get(problem.code, problem.fix))
    if chain and chain[0].certificate.ca:
        message = f"{_name(chain[0])} comes first in a client certificate file, and is a CA"
        fix = "put the client's own certificate first, and issue one if there is none"
        yield CLIENT_IS_CA.at(chain[0].location, message, fix=fix)


def issues(parsed: ParsedCertificate) -> bool:
    """Return whether the certificate may be the issuer of others, as OpenSSL's `check_chain` has it.

    Without basicConstraints that takes a root: one of version 1, or one with keyCertSign.
    """
    if parsed.may_sign is False:
        return False
    if parsed.basic_constraints is not None:
        return parsed.basic_constraints.ca
    return parsed.self_signed and (parsed.may_sign is True or parsed.version == 1)


def pinned(parsed: ParsedCertificate) -> bool:
    """Return whether this is a server's self-signed certificate, there to be trusted by itself."""
    if not parsed.self_signed:
        return False
    return not (issues(parsed) or parsed.certificate.ca) or (parsed.server_names and not parsed.may_sign)


def _weak_key(parsed: ParsedCertificate) -> Problem | None:
    kind, _, bits = parsed.key.partition(" ")
    if parsed.key in _WEAK_CURVES or (kind in _MIN_BITS and int(bits) < _MIN_BITS[kind]):
        message = f"{_name(parsed)} has a key that is too weak: {parsed.key}"
        return WEAK_KEY.at(parsed.location, message, fix="ask for a CA with RSA 2048 or more, or P-256")
    if kind != "RSA" and parsed.key not in _COMMON_KEYS:
        message = f"{_name(parsed)} has a key of an unusual kind: {parsed.key}"
        return UNUSUAL_KEY.at(parsed.location, message, fix="make sure that every client and the platform support it")
    return None


def _weak_hash(parsed: ParsedCertificate) -> Problem | None:
    if parsed.hash not in _WEAK_HASHES:
        return None
    message = f"{_name(parsed)} is signed with {_WEAK_HASHES[parsed.hash]}"
    if parsed.self_signature is None:
        return WEAK_HASH.at(parsed.location, message, fix="ask the CA's operator for one signed with SHA-256")
    checked = "" if parsed.self_signature is Check.GOOD else ", which could not be checked here"
    return WEAK_SELF_SIGNATURE.at(parsed.location, f"{message}{checked}; for a root that does no harm")


def _unknown_critical(parsed: ParsedCertificate) -> Problem | None:
    if not parsed.unknown_critical:
        return None
    message = f"{_name(parsed)} has critical extensions that OpenSSL refuses: {', '.join(parsed.unknown_critical[:5])}"
    return UNKNOWN_CRITICAL.at(parsed.location, message, fix="ask the CA's operator for a certificate without them")


def _wrong_purpose(parsed: ParsedCertificate) -> Problem | None:
    if parsed.purposes is None or parsed.purposes & _SERVER_PURPOSES:
        return None
    any_purpose = _ANY_PURPOSE in parsed.purposes
    what = "anyExtendedKeyUsage does not count as" if any_purpose else "extendedKeyUsage lacks"
    message = f"{_name(parsed)} is not for TLS servers: its {what} serverAuth"
    return WRONG_PURPOSE.at(parsed.location, message, fix="use the CA that issues server certificates")


def _odd_name(parsed: ParsedCertificate) -> Problem | None:
    if all(text.isprintable() for rdn in parsed.subject for _, text in rdn):
        return None
    message = f"{_name(parsed)} has unprintable characters in its name"
    return ODD_NAME.at(parsed.location, message, fix="make sure that it is the CA you mean, by its fingerprint")


def _odd_serial(parsed: ParsedCertificate) -> Problem | None:
    if 0 < parsed.serial < _MAX_SERIAL:
        return None
    what = "longer than 20 bytes" if parsed.serial > 0 else "not positive"
    return ODD_SERIAL.at(parsed.location, f"{_name(parsed)} has a serial number that is {what}", fix=_REISSUE)


def _not_a_ca(parsed: ParsedCertificate) -> Problem | None:
    constraints = parsed.basic_constraints
    if constraints is not None and constraints.ca and parsed.may_sign is False:
        message = f"{_name(parsed)} is a CA, but its keyUsage lacks keyCertSign"
        return CANNOT_SIGN.at(parsed.location, message, fix="ask the CA's operator for a certificate with keyCertSign")
    if issues(parsed):
        return None
    why = " without basicConstraints, which only a root may lack" if constraints is None and parsed.may_sign else ""
    message = f"{_name(parsed)} is not a CA certificate{why}; {parsed.certificate.issuer} issued it"
    return NOT_A_CA.at(parsed.location, message, fix=f"put the certificate of {parsed.certificate.issuer} here instead")


def _empty_subject(parsed: ParsedCertificate) -> Problem | None:
    if parsed.subject:
        return None
    return EMPTY_SUBJECT.at(parsed.location, "the CA certificate has an empty subject", fix=_REISSUE)


def _basic_constraints(parsed: ParsedCertificate) -> Problem | None:
    constraints = parsed.basic_constraints
    if constraints is None and issues(parsed):
        return NO_BASIC_CONSTRAINTS.at(parsed.location, f"{_name(parsed)} has no basicConstraints", fix=_STRICT)
    if constraints is not None and constraints.ca and not constraints.critical:
        message = f"{_name(parsed)} has basicConstraints that are not marked critical"
        return BASIC_CONSTRAINTS_NOT_CRITICAL.at(parsed.location, message, fix=_STRICT)
    return None


def _key_usage(parsed: ParsedCertificate) -> Problem | None:
    if parsed.may_sign is not None:
        return None
    return NO_KEY_USAGE.at(parsed.location, f"{_name(parsed)} has no keyUsage", fix=_STRICT)


def _key_id(parsed: ParsedCertificate) -> Problem | None:
    if parsed.key_id:
        return None
    return NO_KEY_ID.at(parsed.location, f"{_name(parsed)} has no subjectKeyIdentifier", fix=_STRICT)


def _otherwise_strict(parsed: ParsedCertificate) -> Problem | None:
    if parsed.version == 1 and parsed.has_extensions:
        what = "extensions, but is of version 1 (93)"
    elif parsed.no_names:
        what = "an empty subjectAltName (87)"
    else:
        return None
    return NOT_STRICT.at(parsed.location, f"{_name(parsed)} has {what}", fix=_STRICT)


def _explicit_curve(parsed: ParsedCertificate) -> Problem | None:
    if not parsed.explicit_curve:
        return None
    message = f"{_name(parsed)} has a key whose curve is spelled out instead of named"
    return EXPLICIT_CURVE.at(parsed.location, message, fix="ask the CA's operator for a certificate with a named curve")


def _foreign_key_id(parsed: ParsedCertificate) -> Problem | None:
    if not (parsed.self_signed and named_otherwise(parsed, parsed)):
        return None
    message = f"{_name(parsed)} is self-signed, but its authorityKeyIdentifier is not that of its own key"
    fix = f"{_REISSUE}; Python up to 3.12 looks for another issuer and does not find it"
    return FOREIGN_KEY_ID.at(parsed.location, message, fix=fix)


def _pinned(parsed: ParsedCertificate) -> Problem:
    message = f"{_name(parsed)} is a server's self-signed certificate, trusted for itself alone"
    return SERVER_PINNED.at(parsed.location, message, fix="prefer a CA: renewing this one means changing the manifest")


_CHECKS: Final[tuple[Callable[[ParsedCertificate], Problem | None], ...]] = (
    _weak_key,
    _weak_hash,
    _unknown_critical,
    _wrong_purpose,
    _odd_name,
    _odd_serial,
    _empty_subject,
)
_CA_CHECKS: Final[tuple[Callable[[ParsedCertificate], Problem | None], ...]] = (
    _not_a_ca,
    _basic_constraints,
    _key_usage,
    _key_id,
    _otherwise_strict,
    _explicit_curve,
    _foreign_key_id,
)


def _name(parsed: ParsedCertificate) -> str:
    return parsed.certificate.subject


def _date(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _days(span: timedelta) -> str:
    return "less than a day" if span < timedelta(days=1) else f"{span.days} day{'s' if span.days != 1 else ''}"
