"""The chain a server presents: which certificate is its own, which are CAs above it, and which one is missing.

Nothing here is a verdict. Who issued whom is checked by name and by signature, but a chain that holds together proves
nothing about who sent it.

Source: RFC 8446 section 4.4.2 (the server's own certificate comes first); RFC 5280 section 4.2.2.1 (caIssuers).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from reconciler.core.certificate import Check, ParsedCertificate, issued, parse
from reconciler.core.chains import alternative_names
from reconciler.core.hostile import printable
from reconciler.core.observation import is_address, place_of
from reconciler.core.problems import Location, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.core.model import Certificate
    from reconciler.core.observation import Diagnosis

MAX_CERTIFICATES: Final = 10
"""How many certificates of one chain are looked at. Java's TLS client accepts no longer chain from a server."""

_MAX_URLS: Final = 3

Role = Literal["leaf", "intermediate", "root"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A TLS server. `server_name` is asked for and checked in place of `host`, and `connect_to` an IP address to call.

    Host and name are ASCII, as DNS has them; the last two may be empty.
    """

    host: str
    port: int
    server_name: str = ""
    connect_to: str = ""

    @property
    def place(self) -> str:
        """Host and port, as they stand in a URL."""
        return place_of(self.host, self.port)

    @property
    def name(self) -> str:
        """The name or address that the certificate is checked for."""
        if self.server_name:
            return self.server_name
        return self.host.partition("%")[0] if is_address(self.host) else self.host  # no certificate names a zone

    @property
    def sni(self) -> str:
        """The name sent to the server, or empty: addresses are not sent (RFC 6066 section 3)."""
        return "" if is_address(self.name) else self.name


@dataclass(frozen=True, slots=True)
class Member:
    """One certificate of a presented chain; its `file` is the place it came from, its `line` the position, from 1.

    `role`: the server's own certificate is a leaf, even a self-signed one, and so is whatever else is no CA. `linked`
    says whether it is the first or has issued one that is. `names` are the DNS names and IP addresses of
    subjectAltName.
    """

    certificate: Certificate
    role: Role
    linked: bool
    names: tuple[str, ...]

    @property
    def trustable(self) -> bool:
        """Whether a bundle that trusts this server could hold it: a CA of the chain, or the server's own root."""
        return self.linked and (self.role != "leaf" or self.certificate.root)


@dataclass(frozen=True, slots=True)
class PresentedChain:
    """What a server presented, in its order.

    `place` is host and port. `truncated`: it sent more than was looked at. `missing_issuer` is the name of the CA at
    which the chain breaks off, or None if it ends at a root or is truncated. `issuer_urls` are where the last
    certificate says that CA is found (caIssuers), printable; nobody has looked there. `problems` are the certificates
    that cannot be read.
    """

    place: str
    members: tuple[Member, ...]
    truncated: bool
    missing_issuer: str | None
    issuer_urls: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def trustable(self) -> tuple[Certificate, ...]:
        """The certificates that a bundle for this server could hold, each once."""
        return tuple({each.certificate.sha256: each.certificate for each in self.members if each.trustable}.values())

    @property
    def pinned(self) -> bool:
        """Whether the server's own certificate is self-signed: trusting it means trusting exactly that one."""
        return bool(self.members) and self.members[0].role == "leaf" and self.members[0].certificate.root


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of one look at a server. `refusal` says why a client with the system's CAs does not accept it."""

    endpoint: Endpoint
    chain: PresentedChain
    refusal: Diagnosis | None

    @property
    def system_trusted(self) -> bool:
        """Whether the system's CAs accept the server: its chain, its name and its dates."""
        return self.refusal is None


def read_chain(place: str, sent: Sequence[bytes]) -> PresentedChain:
    """Return what the DER certificates that `place` sent are to each other. Whatever they are, this raises nothing."""
    results = [parse(der, Location(place, line)) for line, der in enumerate(sent[:MAX_CERTIFICATES], start=1)]
    read = [each for each in results if isinstance(each, ParsedCertificate)]
    linked = _linked(read)
    truncated = len(sent) > MAX_CERTIFICATES
    last = None if truncated else _breaks_off(linked)
    return PresentedChain(
        place=place,
        members=tuple(_member(each, linked=each in linked) for each in read),
        truncated=truncated,
        missing_issuer=last.certificate.issuer if last else None,
        issuer_urls=_issuer_urls(last) if last else (),
        problems=tuple(each for each in results if isinstance(each, Problem)),
    )


def _member(parsed: ParsedCertificate, *, linked: bool) -> Member:
    return Member(parsed.certificate, _role(parsed.certificate), linked, alternative_names(parsed.encoded))


def _role(certificate: Certificate) -> Role:
    if certificate.line == 1:
        return "leaf"
    if certificate.root:
        return "root"
    return "intermediate" if certificate.ca else "leaf"


def _linked(read: Sequence[ParsedCertificate]) -> list[ParsedCertificate]:
    """Return the first certificate, its issuers among those sent, their issuers, and so on: nearest first."""
    linked = list(read[:1])
    for each in linked:
        linked += [other for other in read if other not in linked and _issued(each, other)]
    return linked


def _issued(parsed: ParsedCertificate, by: ParsedCertificate) -> bool:
    return parsed.issuer == by.subject and issued(parsed.encoded, by.encoded.public_key()) is not Check.BAD


def _breaks_off(linked: Sequence[ParsedCertificate]) -> ParsedCertificate | None:
    """Return the certificate whose issuer is missing, unless a way leads to a root."""
    if not linked or any(each.self_signed for each in linked):
        return None
    return linked[-1]


def _issuer_urls(parsed: ParsedCertificate) -> tuple[str, ...]:
    try:
        places = parsed.encoded.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return ()
    locations = [
        each.access_location for each in places if each.access_method == AuthorityInformationAccessOID.CA_ISSUERS
    ]
    urls = [each.value for each in locations if isinstance(each, x509.UniformResourceIdentifier)]
    return tuple(printable(url) for url in urls[:_MAX_URLS])
