"""Why OpenSSL refused a certificate chain, told from the certificates themselves.

OpenSSL's code is the verdict; the chain is walked offline (`reconciler.core.chains`) for the story: codes 2, 7, 18, 19,
20 and 21 all mean "no way to a trust anchor", and only the walk says why there is none. `_STORIES` names the codes with
a story, `_VERDICTS` what the code alone tells.

Source: x509_vfy.h and `man openssl-verification-options`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.core import chains
from reconciler.core.hostile import printable
from reconciler.core.observation import Diagnosis, is_address, place_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from cryptography.x509 import Certificate

    from reconciler.core.observation import FailedAttempt


@dataclass(frozen=True, slots=True)
class _Evidence:
    """A failed verification with its certificates parsed."""

    attempt: FailedAttempt
    sent: tuple[Certificate, ...]
    bundle: tuple[Certificate, ...]
    path: chains.Path
    now: datetime


def explain(attempt: FailedAttempt, now: datetime) -> Diagnosis:
    """Return why the chain of `attempt` was refused; its code is a verification code."""
    sent = tuple(certificate for der in attempt.chain if (certificate := chains.readable(der)))
    if not sent:
        return _by_code(attempt)
    bundle = chains.bundled(attempt.bundle)
    evidence = _Evidence(attempt, sent, bundle, chains.walk(sent, bundle), now)
    story = _STORIES.get(attempt.code)
    return story(evidence) if story else _by_code(attempt)


def _no_way_to_an_anchor(evidence: _Evidence) -> Diagnosis:
    """Tell apart the reasons for codes 2, 7, 18, 19, 20 and 21."""
    path = evidence.path
    if path.anchored:
        return _by_code(evidence.attempt)
    if path.namesakes:
        return _rotated(evidence)
    if chains.self_signed(path.last):
        return _self_signed(evidence) if len(path.certificates) == 1 else _unknown_root(evidence)
    if path.last in evidence.bundle:
        return _root_missing(evidence)
    if len(evidence.sent) == 1 and evidence.bundle:
        return _intermediate_missing(evidence)
    return _unknown_issuer(evidence)


def _rotated(evidence: _Evidence) -> Diagnosis:
    last, namesake = evidence.path.last, evidence.path.namesakes[0]
    return Diagnosis(
        "CaRotated",
        f"The bundle holds {chains.subject(namesake)}, but with another key: its certificate "
        f"{_short(namesake)} did not sign {chains.subject(last)}, which {evidence.attempt.place} sent. "
        "The CA has been renewed with a new key, or this is another CA of the same name.",
        "Get the CA's present certificate from its owner, check its fingerprint, and add it to spec.tls.caCertificates "
        "(beside the old one while servers still change over).",
    )


def _self_signed(evidence: _Evidence) -> Diagnosis:
    leaf = evidence.sent[0]
    return Diagnosis(
        "SelfSigned",
        f"{evidence.attempt.place} presents a self-signed certificate, {chains.subject(leaf)}, SHA-256 "
        f"{chains.fingerprint(leaf)}, which is not in the bundle{_holding(evidence)}.",
        "If this fingerprint is the one the server's owner gives you, add exactly this certificate to "
        "spec.tls.caCertificates; otherwise have the server use a certificate of your CA.",
    )


def _unknown_root(evidence: _Evidence) -> Diagnosis:
    root = evidence.path.last
    return Diagnosis(
        "CaUnknown",
        f"The chain that {evidence.attempt.place} sends ends at {chains.subject(root)}, SHA-256 "
        f"{chains.fingerprint(root)}, which is not in the bundle{_holding(evidence)}.",
        f"Save what it presents with `reconciler ca fetch {evidence.attempt.place} > ca.pem`, and once its owner has "
        "confirmed the fingerprint add ca.pem to spec.tls.caCertificates.",
    )


def _root_missing(evidence: _Evidence) -> Diagnosis:
    last = evidence.path.last
    return Diagnosis(
        "RootMissing",
        f"The bundle holds the intermediate {chains.subject(last)}, but not the CA that issued it, "
        f"{chains.issuer(last)}; an intermediate alone is no trust anchor.",
        f"Add the certificate of {chains.issuer(last)} to spec.tls.caCertificates.",
    )


def _intermediate_missing(evidence: _Evidence) -> Diagnosis:
    leaf = evidence.sent[0]
    return Diagnosis(
        "IntermediateMissing",
        f"{evidence.attempt.place} sends its own certificate alone, and its issuer, {chains.issuer(leaf)}, is not in "
        f"the bundle{_holding(evidence)}.",
        f"If {chains.issuer(leaf)} is an intermediate of a CA in the bundle, have the server send it with its own "
        "certificate (the full chain, leaf first), or add it to spec.tls.caCertificates; if not, the bundle is for "
        "another CA.",
    )


def _unknown_issuer(evidence: _Evidence) -> Diagnosis:
    last = evidence.path.last
    return Diagnosis(
        "CaUnknown",
        f"{chains.subject(last)}, which {evidence.attempt.place} sent, was issued by {chains.issuer(last)}, and that "
        f"CA is not in the bundle{_holding(evidence)}.",
        f"Add the certificate of {chains.issuer(last)} to spec.tls.caCertificates, once its owner has confirmed the "
        f"fingerprint; `reconciler ca fetch {evidence.attempt.place}` shows what the server presents, and where that "
        "certificate may be found.",
    )


def _wrong_name(evidence: _Evidence) -> Diagnosis:
    leaf, host = evidence.sent[0], evidence.attempt.host
    names = chains.alternative_names(leaf)
    return Diagnosis(
        "NameMismatch",
        f"The certificate that {evidence.attempt.place} presents ({chains.subject(leaf)}) is not for {host}; it is for "
        f"{', '.join(names[:10]) or 'no DNS name or IP address at all'}.",
        f"{_other_url(evidence, names)}have the certificate reissued with subjectAltName={_san(host)}.",
    )


def _other_url(evidence: _Evidence, names: tuple[str, ...]) -> str:
    """Return the offer of a URL that the certificate is for, as far as it names one."""
    name = next((one for one in names if "*" not in one), "")
    return f"Write https://{place_of(name, evidence.attempt.port)}/… in spec.url, or " if name else "Ask to "


def _san(host: str) -> str:
    return f"IP:{host}" if is_address(host) else f"DNS:{host}"


def _out_of_date(evidence: _Evidence) -> Diagnosis:
    expired = evidence.attempt.code == "10"
    for certificate in (*evidence.path.certificates, *evidence.sent, *evidence.bundle):
        if expired and certificate.not_valid_after_utc < evidence.now:
            return _expired(evidence, certificate)
        if not expired and certificate.not_valid_before_utc > evidence.now:
            return _not_yet_valid(evidence, certificate)
    return _by_code(evidence.attempt)


def _expired(evidence: _Evidence, certificate: Certificate) -> Diagnosis:
    days = (evidence.now - certificate.not_valid_after_utc).days
    return Diagnosis(
        "CertificateExpired",
        f"{chains.subject(certificate)}, {_origin(evidence, certificate)}, expired on "
        f"{_moment(certificate.not_valid_after_utc)}, {days} days ago (the clock here says {_moment(evidence.now)}).",
        "Renew it at the server."
        if certificate in evidence.sent
        else "Replace it in spec.tls.caCertificates by the CA's present certificate.",
    )


def _not_yet_valid(evidence: _Evidence, certificate: Certificate) -> Diagnosis:
    return Diagnosis(
        "CertificateNotYetValid",
        f"{chains.subject(certificate)}, {_origin(evidence, certificate)}, is not valid before "
        f"{_moment(certificate.not_valid_before_utc)} (the clock here says {_moment(evidence.now)}).",
        "Check this machine's clock; if it is right, wait or have the certificate reissued.",
    )


def _weak_key(evidence: _Evidence) -> Diagnosis:
    for certificate in (*evidence.path.certificates, *evidence.sent):
        if weakness := chains.weak_key(certificate):
            return Diagnosis(
                "WeakKey",
                f"{chains.subject(certificate)}, {_origin(evidence, certificate)}, has {weakness}, which is too weak.",
                "Have it reissued for a new key: RSA from 2048 bits, or P-256.",
            )
    return _by_code(evidence.attempt)


def _weak_signature(evidence: _Evidence) -> Diagnosis:
    for certificate in (*evidence.path.certificates, *evidence.sent):
        if name := chains.broken_hash(certificate):
            return Diagnosis(
                "WeakSignature",
                f"{chains.subject(certificate)}, {_origin(evidence, certificate)}, is signed with {name}, which has "
                "been broken.",
                "Have it reissued with SHA-256.",
            )
    return _by_code(evidence.attempt)


_STORIES: dict[str, Callable[[_Evidence], Diagnosis]] = {
    **dict.fromkeys(("2", "7", "18", "19", "20", "21"), _no_way_to_an_anchor),
    **dict.fromkeys(("9", "10"), _out_of_date),
    **dict.fromkeys(("62", "64"), _wrong_name),
    **dict.fromkeys(("66", "67"), _weak_key),
    "68": _weak_signature,
}

_REISSUE_LEAF = "Have the server's certificate reissued."
_LOOK_UP = "Look the code up in `man openssl-verification-options`, and have the certificate reissued."
_REISSUE_CA = "Have the CA certificate reissued by its owner."

_VERDICTS: dict[str, tuple[str, str, str]] = {
    "9": ("CertificateNotYetValid", "a certificate of the chain is not valid yet", "Check this machine's clock."),
    "10": ("CertificateExpired", "a certificate of the chain has expired", "Renew it."),
    "13": ("CertificateMalformed", "a certificate's notBefore cannot be read", _REISSUE_LEAF),
    "14": ("CertificateMalformed", "a certificate's notAfter cannot be read", _REISSUE_LEAF),
    "23": ("CertificateRevoked", "a certificate has been revoked", _REISSUE_LEAF),
    "25": ("PathTooLong", "a CA allows fewer intermediates below it than there are (pathLen)", _REISSUE_CA),
    "26": ("WrongPurpose", "key usage or extended key usage does not allow a TLS server", _REISSUE_LEAF),
    "34": ("UnknownExtension", "a certificate has a critical extension nobody here knows", _REISSUE_LEAF),
    "47": ("NameConstraint", "a CA may not issue for this name (name constraints)", "Use a CA that may issue for it."),
    "48": (
        "NameConstraint",
        "a CA may only issue for other names (name constraints)",
        "Use a CA that may issue for it.",
    ),
    "62": ("NameMismatch", "the certificate is not for this host name", "Use a name the certificate has."),
    "64": ("NameMismatch", "the certificate is not for this IP address", "Use a name the certificate has."),
    "66": ("WeakKey", "the server's key is too weak", "Have it reissued: RSA from 2048 bits, or P-256."),
    "67": ("WeakKey", "a CA's key is too weak", "Have it reissued: RSA from 2048 bits, or P-256."),
    "68": ("WeakSignature", "a certificate is signed with a broken hash (SHA-1 or MD5)", "Have it reissued: SHA-256."),
    "24": ("NotACa", "an issuer in the chain is not a CA (basicConstraints, keyUsage)", _REISSUE_CA),
    "79": ("NotACa", "an issuer in the chain is not a CA (basicConstraints, keyUsage)", _REISSUE_CA),
}


def _by_code(attempt: FailedAttempt) -> Diagnosis:
    unknown = ("VerificationFailed", printable(attempt.detail) or "the chain was refused", _LOOK_UP)
    reason, what, fix = _VERDICTS.get(attempt.code, unknown)
    return Diagnosis(reason, f"OpenSSL refuses the chain of {attempt.place}, code {attempt.code}: {what}.", fix)


def _holding(evidence: _Evidence) -> str:
    """Return what was trusted instead, for the end of a sentence."""
    system = " nor among the system's CAs" if evidence.attempt.system_trust else ""
    if not evidence.bundle:
        return f", which is empty,{system}" if system else ", which is empty"
    subjects = [f"{chains.subject(one)}, {_short(one)}" for one in evidence.bundle[:5]]
    more = f" and {len(evidence.bundle) - 5} more" if len(evidence.bundle) > len(subjects) else ""
    return f"{system} (the bundle holds {'; '.join(subjects)}{more})"


def _origin(evidence: _Evidence, certificate: Certificate) -> str:
    if certificate == evidence.sent[0]:
        return f"the certificate of {evidence.attempt.place}"
    return f"sent by {evidence.attempt.place}" if certificate in evidence.sent else "in the bundle"


def _short(certificate: Certificate) -> str:
    return f"SHA-256 {chains.fingerprint(certificate)[:16]}…"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
