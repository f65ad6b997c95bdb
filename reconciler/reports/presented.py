"""What a server presents: a CA file for programs, a summary for people, and the same as JSON.

Nothing of it was verified, and each form says so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from reconciler.reports.certificates import certificate_document, expiry
from reconciler.reports.problems import FORMAT_VERSION, diagnostics
from reconciler.reports.style import PLAIN, Style, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from reconciler.core.model import Certificate
    from reconciler.core.presented import Endpoint, Fetched, Member

_SHOWN_NAMES: Final = 10

# What some reader takes for the marker of a block wherever it stands on a line: `--BEGIN`, `END `, `PuTTY-`.
_MARKER: Final = re.compile(r"(?i:-(?=\s*(?:BEGIN|END)\b))|(?<=\bBEGI)N(?= )|(?<=\bEN)D(?= )|(?i:(?<=putt)y(?=-))")

# The refusals that a CA file cures.
_CA_UNKNOWN: Final = frozenset({"CaUnknown", "SelfSigned"})

_FIRST_USE: Final = """\
Nothing was verified: these are the certificates of whoever answered (trust on first use). Compare their fingerprints \
with those that the owner of the CA or of the server gives you by another channel.
  of a saved file:  openssl x509 -noout -fingerprint -sha256 -in FILE   (its first certificate)
                    reconciler ca inspect FILE                          (all, and what is wrong with them)"""


def as_pem(endpoint: Endpoint, certificates: Sequence[Certificate], now: datetime) -> str:
    """Return the certificates as a CA file with comments, in ASCII, without a final line end."""
    warning = (
        f"NOT VERIFIED: presented by {endpoint.place} on {now:%Y-%m-%d}; "
        "compare the fingerprint by another channel before trusting it"
    )
    return "\n".join([_comment(warning), *(_block(each) for each in certificates)])


def as_document(fetched: Fetched) -> dict[str, Any]:
    """Return the published JSON shape of `ca fetch`."""
    chain = fetched.chain
    return {
        "format_version": FORMAT_VERSION,
        "host": fetched.endpoint.host,
        "port": fetched.endpoint.port,
        "server_name": fetched.endpoint.sni,
        "verified": False,
        "system_trusted": fetched.system_trusted,
        "certificates": [{**certificate_document(each.certificate), "role": each.role} for each in chain.members],
        "truncated": chain.truncated,
        "missing_issuer": chain.missing_issuer,
        "diagnostics": diagnostics(chain.problems),
    }


def as_text(fetched: Fetched, now: datetime, style: Style = PLAIN) -> str:
    """Return the summary: each certificate in the order it was sent, what is missing, and what to do."""
    chain = fetched.chain
    sent = len(chain.members) + len(chain.problems)
    lines = [f"{chain.place} presents {counted(sent, 'certificate')}, {style('not verified', 'yellow')}:"]
    for member in chain.members:
        lines.extend(_member(member, now, style))
    return "\n".join([*lines, "", *_notes(fetched), _FIRST_USE])


def _comment(text: str) -> str:
    """Return `text` as a comment that no reader of PEM files takes for more, and OpenSSL's ASCII takes at all."""
    ascii_text = text.encode("ascii", "backslashreplace").decode("ascii")
    return "# " + _MARKER.sub(lambda found: f"\\x{ord(found[0]):02x}", ascii_text)


def _block(certificate: Certificate) -> str:
    subject = _comment(f"subject: {certificate.subject}")
    fingerprint = _comment(f"sha256 fingerprint: {_colons(certificate.sha256)}")
    return f"{subject}\n{fingerprint}\n{certificate.pem}"


def _colons(sha256: str) -> str:
    """Return a fingerprint as `openssl x509 -fingerprint` prints it."""
    return bytes.fromhex(sha256).hex(":").upper()


def _member(member: Member, now: datetime, style: Style) -> Iterator[str]:
    certificate = member.certificate
    yield f"  {certificate.line}. {style(certificate.subject + _mark(member), 'bold')}"
    if not member.linked:
        yield "     not part of this chain, for it has issued nothing in it: left out unless --all is given"
    if member.role == "leaf" and member.names:
        more = f" and {len(member.names) - _SHOWN_NAMES} more" if len(member.names) > _SHOWN_NAMES else ""
        yield f"     for {', '.join(member.names[:_SHOWN_NAMES])}{more}"
    if not certificate.root:
        yield f"     issued by {certificate.issuer}"
    yield f"     {expiry(certificate.not_after, now)}"
    yield f"     sha256 {_colons(certificate.sha256)}"


def _mark(member: Member) -> str:
    if not member.certificate.root:
        return ""
    return " (self-signed)" if member.role == "leaf" else " (Root CA)"


def _notes(fetched: Fetched) -> Iterator[str]:
    chain = fetched.chain
    yield _system(fetched)
    if chain.truncated:
        yield "The server sent more certificates than these. They were not looked at, so what is missing is not known."
    if chain.pinned:
        yield (
            "The server's certificate is self-signed. A bundle that holds it pins exactly this certificate, and has "
            "to change whenever the server's does."
        )
    elif chain.missing_issuer is not None:
        yield _missing(fetched, chain.missing_issuer)
    for url in chain.issuer_urls:
        yield f"A hint, neither fetched nor verified: that CA's certificate is said to be at {url}"


def _missing(fetched: Fetched, issuer: str) -> str:
    if not fetched.chain.trustable:
        return (
            f"No CA certificate was presented, so there is none to save. The issuer ({issuer}) was not presented: get "
            "it, and the root above it, from whoever runs that CA."
        )
    absent = f"As with most servers the root ({issuer}) was not presented"
    if fetched.system_trusted:
        return f"{absent}: clients have it."
    return (
        f"{absent}: get it from whoever runs that CA; an intermediate alone works only where partial chains are "
        "allowed."
    )


def _system(fetched: Fetched) -> str:
    refusal = fetched.refusal
    if refusal is None:
        return "The system's CAs accept this server: no CA file is needed for this server."
    if refusal.reason in _CA_UNKNOWN:
        return "The system's CAs do not accept this server: a CA file is needed for it."
    return f"A client that has the system's CAs alone does not get through: {refusal.message}"
