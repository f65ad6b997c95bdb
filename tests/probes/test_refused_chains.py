"""Chains that OpenSSL refuses for what a certificate says or how it was made, each sent by a server on a real port."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from raw_servers import NOW, VALID, hang, server_context, target

from reconciler.demo.pki import Identity
from reconciler.probes import probe
from reconciler.probes.tls import load_identity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from raw_servers import RawServer

    from reconciler.core.observation import TlsObservation
    from reconciler.demo.pki import Authority

    Serve = Callable[..., RawServer]

A_CA = (x509.BasicConstraints(ca=True, path_length=None), True)
A_LEAF = (x509.BasicConstraints(ca=False, path_length=None), True)
NO_MORE_BELOW = (x509.BasicConstraints(ca=True, path_length=0), True)
FOR_LOCALHOST = (x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
FOR_CLIENTS = (x509.ExtendedKeyUsage([x509.OID_CLIENT_AUTH]), False)
FOR_OTHERS = (x509.NameConstraints([x509.DNSName("example.com")], None), True)
NOT_FOR_LOCALHOST = (x509.NameConstraints(None, [x509.DNSName("localhost")]), True)
UNKNOWN = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00"), True)


@dataclass(frozen=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Any

    def issue(self, name: str, *extensions: tuple[x509.ExtensionType, bool], key: Any = None) -> Issued:
        """Return a certificate for `name` that this one signed, whether it may or not."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        builder = x509.CertificateBuilder(
            issuer_name=self.certificate.subject,
            subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=VALID.not_before,
            not_valid_after=VALID.not_after,
        )
        for value, critical in extensions:
            builder = builder.add_extension(value, critical=critical)
        return Issued(builder.sign(self.key, hashes.SHA256()), key)

    def identity(self, *above: Issued) -> Identity:
        """Return what a server presents: this certificate, and those above it."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return Identity((self.certificate, *(each.certificate for each in above)), key)


def below(root: Authority) -> Issued:
    return Issued(root.certificate, root.key)


def observed(serve: Serve, root: Authority, context: ssl.SSLContext) -> TlsObservation:
    seen = probe(target(f"https://localhost:{serve(hang, context).port}/mcp", ca_certificate=root.pem), NOW)
    assert seen.tls is not None
    assert not seen.tls.ok
    assert seen.tls.fix.endswith("</dev/null"), "it ends with the command that shows the same"
    assert "To see the same: openssl s_client -connect localhost:" in seen.tls.fix
    return seen.tls


def wrong_purpose(root: Authority) -> Identity:
    return below(root).issue("localhost", FOR_LOCALHOST, FOR_CLIENTS).identity()


def issued_by_a_leaf(root: Authority) -> Identity:
    issuer = below(root).issue("Not A CA", A_LEAF)
    return issuer.issue("localhost", FOR_LOCALHOST).identity(issuer)


def too_deep(root: Authority) -> Identity:
    upper = below(root).issue("Upper CA", NO_MORE_BELOW)
    lower = upper.issue("Lower CA", A_CA)
    return lower.issue("localhost", FOR_LOCALHOST).identity(lower, upper)


def constrained(constraint: tuple[x509.ExtensionType, bool]) -> Callable[[Authority], Identity]:
    def made(root: Authority) -> Identity:
        issuer = below(root).issue("Constrained CA", A_CA, constraint)
        return issuer.issue("localhost", FOR_LOCALHOST).identity(issuer)

    return made


def unknown_extension(root: Authority) -> Identity:
    return below(root).issue("localhost", FOR_LOCALHOST, UNKNOWN).identity()


@pytest.mark.parametrize(
    ("made", "code", "reason", "fix"),
    [
        (wrong_purpose, "26", "WrongPurpose", "Have the server's certificate reissued."),
        (issued_by_a_leaf, "79", "NotACa", "Have the CA certificate reissued by its owner."),
        (too_deep, "25", "PathTooLong", "Have the CA certificate reissued by its owner."),
        (constrained(FOR_OTHERS), "47", "NameConstraint", "Use a CA that may issue for it."),
        (constrained(NOT_FOR_LOCALHOST), "48", "NameConstraint", "Use a CA that may issue for it."),
        (unknown_extension, "34", "UnknownExtension", "Have the server's certificate reissued."),
    ],
)
def test_what_a_certificate_says_may_not_be(
    serve: Serve, root: Authority, made: Callable[[Authority], Identity], code: str, reason: str, fix: str
) -> None:
    identity = made(root)
    seen = observed(serve, root, server_context(identity))
    assert (seen.code, seen.reason) == (code, reason)
    assert f"code {code}: " in seen.message
    assert seen.fix.startswith(fix)
    assert len(seen.chain) == len(identity.chain), "what was presented is shown all the same"


@pytest.mark.parametrize(
    ("alert", "reason", "fix"),
    [
        (ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME, "NameNotServed", "Use the host name under which"),
        (ssl.ALERT_DESCRIPTION_INTERNAL_ERROR, "UpstreamTlsFailed", "Look into the upstream's log at this moment"),
    ],
)
def test_a_server_that_gives_up_while_it_looks_for_a_certificate(
    serve: Serve, root: Authority, alert: int, reason: str, fix: str
) -> None:
    context = server_context(root.issue_server(["localhost"]))
    context.sni_callback = lambda *_: alert
    seen = observed(serve, root, context)
    assert (seen.reason, seen.chain) == (reason, ())
    assert seen.fix.startswith(fix)


# Too weak -----------------------------------------------------------------------------------------------------------


def lax(identity: Identity) -> ssl.SSLContext:
    """Return a server's context that presents what no careful server would."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    load_identity(context, identity.certificate_pem, identity.key_pem)
    return context


def signed_over_sha1(root: Authority, directory: Path) -> Identity:
    """Return a server's identity as OpenSSL still makes one when told to."""
    ca_key = root.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for name, text in (("ca.pem", root.pem), ("ca.key", ca_key), ("san", "subjectAltName=DNS:localhost")):
        (directory / name).write_text(f"{text}\n")
    for command in (
        "req -new -newkey rsa:2048 -nodes -keyout server.key -subj /CN=localhost -out server.csr",
        "x509 -req -sha1 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile san -out server.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=directory, check=True, capture_output=True, timeout=60)
    certificate = x509.load_pem_x509_certificate((directory / "server.pem").read_bytes())
    return Identity((certificate,), (directory / "server.key").read_text())


def test_a_signature_over_a_broken_hash(serve: Serve, root: Authority, tmp_path: Path) -> None:
    seen = observed(serve, root, lax(signed_over_sha1(root, tmp_path)))
    assert (seen.code, seen.reason) == ("68", "WeakSignature")
    assert "CN=localhost, the certificate of localhost" in seen.message
    assert "is signed with SHA1, which has been broken" in seen.message


def test_a_key_that_is_too_weak(serve: Serve, root: Authority) -> None:
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is the point
    seen = observed(serve, root, lax(below(root).issue("localhost", FOR_LOCALHOST, key=key).identity()))
    assert (seen.code, seen.reason) == ("66", "WeakKey")
    assert "has an RSA key of 1024 bits, which is too weak" in seen.message
    assert "RSA from 2048 bits" in seen.fix


def test_the_key_of_a_ca_that_is_too_weak(serve: Serve, root: Authority) -> None:
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - as above
    issuer = below(root).issue("Weak CA", A_CA, key=key)
    seen = observed(serve, root, lax(issuer.issue("localhost", FOR_LOCALHOST).identity(issuer)))
    assert (seen.code, seen.reason) == ("67", "WeakKey")
    assert "CN=Weak CA, sent by localhost" in seen.message
