"""Makes the PEM files of the examples anew. Every private key lives in memory only, and none is written.

The files are valid, or not on purpose, at the moment that `tests/test_examples.py` takes for now.
"""

from __future__ import annotations

import textwrap
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Extension = tuple[x509.ExtensionType, bool]
    Contents = Mapping[str, str | bytes]

HERE: Final = Path(__file__).parent
BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2046, 1, 1, tzinfo=UTC)
SOON = datetime(2026, 12, 1, tzinfo=UTC)
SERIAL: Final = b"\x55" * 19
SHA256_WITH_RSA, SHA1_WITH_RSA, MD5_WITH_RSA = (bytes.fromhex(f"2a864886f70d0101{each}") for each in ("0b", "05", "04"))
SHA256_WITH_EC, SHA384_WITH_EC = (bytes.fromhex(f"2a8648ce3d0403{each}") for each in ("02", "03"))
USAGES: Final = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")


def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def usage(*, sign: bool) -> x509.KeyUsage:
    others = dict.fromkeys((*USAGES, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(**others, key_cert_sign=sign, crl_sign=sign)


def certificate(
    subject: str,
    own: Any,
    issuer: tuple[str, Any] | None = None,
    extensions: Mapping[str, Extension | None] | None = None,
    lifetime: tuple[datetime, datetime] = (BEGIN, END),
) -> x509.Certificate:
    """Return a CA certificate, self-signed without an issuer, perfect but for the extensions given (None: left out)."""
    issued_by, signer = issuer or (subject, own)
    builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issued_by))
    builder = builder.public_key(own.public_key()).serial_number(int.from_bytes(SERIAL))
    builder = builder.not_valid_before(lifetime[0]).not_valid_after(lifetime[1])
    perfect: dict[str, Extension | None] = {
        "basic": (x509.BasicConstraints(ca=True, path_length=None), True),
        "usage": (usage(sign=True), True),
        "id": (x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False),
    }
    for extension in (perfect | dict(extensions or {})).values():
        if extension is not None:
            builder = builder.add_extension(extension[0], critical=extension[1])
    return builder.sign(signer, hashes.SHA256())


def pem(*found: x509.Certificate) -> str:
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in found)


def block(data: bytes, label: str = "CERTIFICATE") -> str:
    body = "\n".join(textwrap.wrap(b64encode(data).decode(), 64))
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"


def altered(found: x509.Certificate, old: bytes, new: bytes) -> str:
    """Return the certificate with some bytes replaced: made by hand, for no library makes such a thing any more."""
    return block(found.public_bytes(Encoding.DER).replace(old, new))


ROOT_KEY, ISSUING_KEY, OTHER_KEY = key(), key(), key()
ROOT = certificate("Example Root CA", ROOT_KEY)
ISSUING = certificate("Example Issuing CA", ISSUING_KEY, ("Example Root CA", ROOT_KEY))
ROOT_PEM, ROOT_DER = pem(ROOT), ROOT.public_bytes(Encoding.DER)
LINES = ROOT_PEM.splitlines(keepends=True)


def good() -> Contents:
    """Return what is accepted, with a warning or a note at the most."""
    names = x509.SubjectAlternativeName([x509.DNSName("server.example")])
    lax = {"basic": (x509.BasicConstraints(ca=True, path_length=None), False), "usage": None, "id": None}
    old = certificate("Old Root CA", rsa.generate_private_key(65537, 2048), None, lax)
    odd = certificate("Negative CA", key(), ("Example Root CA", ROOT_KEY))
    me = certificate("me", key(), ("Example Issuing CA", ISSUING_KEY), {"basic": None, "usage": None})
    server = certificate("server.example", key(), None, {"usage": None, "names": (names, False)})
    return {
        "chain/root.pem": ROOT_PEM,
        "chain/issuing.pem": f"Issued in 2026, in two files: the order does not matter.\n\n{pem(ISSUING)}",
        "chain/me.crt": pem(me),
        "across/root.pem": ROOT_PEM,
        "rotation/ca.pem": pem(ROOT, certificate("Example Root CA", OTHER_KEY)) + ROOT_PEM,
        "expiring/ca.pem": pem(certificate("Expiring Root CA", key(), lifetime=(BEGIN, SOON))),
        "missing-root/issuing.pem": pem(ISSUING),
        "pinned-server/server.pem": pem(server),
        "strict/old.pem": altered(old, SHA256_WITH_RSA, MD5_WITH_RSA),
        "strict/no-basic-constraints.pem": pem(certificate("No Constraints CA", key(), None, {"basic": None})),
        "strict/unusual-key.pem": pem(certificate("Unusual CA", ec.generate_private_key(ec.SECP256K1()))),
        "strict/odd-name.pem": pem(certificate("moc.elpmaxe \u202egpj", key())),
        "strict/odd-serial.pem": altered(odd, SERIAL, b"\xd5" + SERIAL[1:]),
    }


def files() -> Contents:
    """Return files that are no PEM text at all."""
    return {
        "der.pem": ROOT_DER,
        "empty.pem": b"",
        "git-lfs.pem": f"version https://git-lfs.github.com/spec/v1\noid sha256:{'5f' * 32}\nsize 720\n",
        "html.pem": "<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n",
        "text.pem": "The certificate is in the ticket.\n",
        "utf-16.pem": ROOT_PEM.encode("utf-16"),
    }


def blocks() -> Contents:
    """Return files whose blocks are not certificates, or not whole ones."""
    request = x509.CertificateSigningRequestBuilder().subject_name(name("Request")).sign(ROOT_KEY, hashes.SHA256())
    revoked = x509.CertificateRevocationListBuilder().issuer_name(name("Example Root CA"))
    revoked = revoked.last_update(BEGIN).next_update(END)
    return {
        "cut.pem": block(ROOT_DER[:-90]),
        "header.pem": LINES[0] + "Proc-Type: 4,CLEAR\n\n" + "".join(LINES[1:]),
        "pkcs7.pem": pkcs7.serialize_certificates([ROOT], Encoding.PEM),
        "request.pem": request.public_bytes(Encoding.PEM),
        "revoked.pem": revoked.sign(ROOT_KEY, hashes.SHA256()).public_bytes(Encoding.PEM),
        "truncated.pem": "".join([*LINES[:3], LINES[3][:-6] + "\n", LINES[-1]]),
        "trusted.pem": ROOT_PEM.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
        "two-in-one.pem": block(ROOT_DER + ISSUING.public_bytes(Encoding.DER)),
    }


def framing() -> Contents:
    """Return files whose BEGIN and END lines do not fit."""
    return {
        "conflict.pem": f"<<<<<<< HEAD\n{ROOT_PEM}=======\n{pem(ISSUING)}>>>>>>> branch\n",
        "indented.pem": textwrap.indent(ROOT_PEM, "    "),
        "mismatch.pem": ROOT_PEM.replace("END CERTIFICATE", "END X509 CERTIFICATE"),
        "stray.pem": "".join(LINES[1:-1]),
        "unclosed.pem": "".join(LINES[:-1]),
        "unopened.pem": "".join(LINES[1:]),
    }


def certificates() -> Contents:
    """Return certificates that are not fit to be trusted, each for a reason of its own."""
    early, late = datetime(2024, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
    leaf = {"basic": (x509.BasicConstraints(ca=False, path_length=None), True), "usage": (usage(sign=False), True)}
    clients = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505 - on purpose
    below = certificate("Forgeable CA", key(), ("Absent RSA CA", rsa.generate_private_key(65537, 2048)))
    torn = certificate("Torn CA", key()).public_bytes(Encoding.DER)
    outer = torn.rindex(SHA256_WITH_EC)
    return {
        "expired.pem": pem(certificate("Expired CA", key(), lifetime=(early, BEGIN))),
        "not-yet-valid.pem": pem(certificate("Future CA", key(), lifetime=(late, END))),
        "leaf.pem": pem(certificate("www.example", key(), ("Absent Root CA", OTHER_KEY), leaf)),
        "cannot-sign.pem": pem(certificate("Signless CA", key(), None, {"usage": (usage(sign=False), True)})),
        "wrong-purpose.pem": pem(certificate("Client CA", key(), None, {"purpose": (clients, False)})),
        "weak-key.pem": pem(certificate("Weak CA", weak)),
        "weak-hash.pem": altered(below, SHA256_WITH_RSA, SHA1_WITH_RSA),
        "unknown-critical.pem": pem(certificate("Critical CA", key(), None, {"unknown": (unknown, True)})),
        "empty-subject.pem": pem(certificate("", key())),
        "unreadable.pem": block(torn[:outer] + SHA384_WITH_EC + torn[outer + len(SHA384_WITH_EC) :]),
    }


def bundles() -> Contents:
    """Return certificates that do not belong together."""
    own, forged = key(), key()
    short = certificate("Short CA", own, None, {"basic": (x509.BasicConstraints(ca=True, path_length=0), True)})
    by_root = {"by": (x509.AuthorityKeyIdentifier.from_issuer_public_key(ROOT_KEY.public_key()), False)}
    return {
        "self-signature.pem": pem(certificate("Swapped CA", key(), ("Swapped CA", forged))),
        "signature.pem": pem(certificate("Altered CA", key(), ("Example Root CA", forged), by_root), ROOT),
        "path.pem": pem(certificate("Too Deep CA", key(), ("Short CA", own)), short),
    }


CASES: Final[Mapping[str, Callable[[], Contents]]] = {
    "good": good,
    "bad/pem-files": files,
    "bad/pem-blocks": blocks,
    "bad/pem-framing": framing,
    "bad/certificates": certificates,
    "bad/bundles": bundles,
    "bad/references": lambda: {"present.pem": ROOT_PEM},
}

if __name__ == "__main__":
    for folder, make in CASES.items():
        for path, content in make().items():
            target = HERE / folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content if isinstance(content, bytes) else content.encode())
