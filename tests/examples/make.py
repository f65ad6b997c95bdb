"""Makes the PEM files of the examples anew. Every private key lives in memory only, and none is written.

The files are valid, or not on purpose, at the moment that `tests/example_trees.py` takes for now. A line above each
certificate says what it is, as in the bundles that people keep; readers skip it. The CA with an explicit curve is not
made here: only OpenSSL's command line still makes one, and `rules/ca-explicit-curve/bad/ca.pem` says how.
"""

from __future__ import annotations

import textwrap
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, pkcs7, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Extension = tuple[x509.ExtensionType, bool]
    Contents = Mapping[str, str | bytes]
    Pairs = Mapping[str, tuple[str | bytes, str | bytes]]

HERE: Final = Path(__file__).parent
BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2046, 1, 1, tzinfo=UTC)
EARLY, SOON = datetime(2024, 1, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
LATE, LATER = datetime(2036, 1, 1, tzinfo=UTC), datetime(2046, 7, 1, tzinfo=UTC)
SERIAL: Final = b"\x55" * 19
SHA256_WITH_RSA, SHA1_WITH_RSA = (bytes.fromhex(f"2a864886f70d0101{each}") for each in ("0b", "05"))
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
    return builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def block(data: bytes, label: str = "CERTIFICATE") -> str:
    body = "\n".join(textwrap.wrap(b64encode(data).decode(), 64))
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"


def described(subject: str, data: bytes, lifetime: tuple[datetime, datetime] = (BEGIN, END)) -> str:
    """Return a certificate's block below a line for people."""
    return f"# {subject}, {lifetime[0]:%Y-%m-%d} until {lifetime[1]:%Y-%m-%d}\n{block(data)}"


def pem(*found: x509.Certificate) -> str:
    return "".join(
        described(_common_name(each), _der(each), (each.not_valid_before_utc, each.not_valid_after_utc))
        for each in found
    )


def _common_name(found: x509.Certificate) -> str:
    names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return ascii(names[0].value)[1:-1] if names else "no name"


def _der(found: x509.Certificate) -> bytes:
    return found.public_bytes(Encoding.DER)


def forced(found: x509.Certificate, signer: rsa.RSAPrivateKey, old: bytes, new: bytes) -> bytes:
    """Return the certificate with some bytes replaced and signed anew, which no library does. Lengths stay."""
    content = found.tbs_certificate_bytes.replace(old, new)
    digest = hashes.SHA1() if new == SHA1_WITH_RSA else hashes.SHA256()  # noqa: S303 - on purpose
    whole = _der(found).replace(found.tbs_certificate_bytes, content).replace(old, new)
    return whole.replace(found.signature, signer.sign(content, padding.PKCS1v15(), digest))


def with_sha1(found: x509.Certificate, signer: rsa.RSAPrivateKey) -> bytes:
    """Return the certificate signed with SHA-1."""
    return forced(found, signer, SHA256_WITH_RSA, SHA1_WITH_RSA)


ROOT_KEY, ISSUING_KEY, OTHER_KEY = key(), key(), key()
ROOT = certificate("Example Root CA", ROOT_KEY)
RENEWED = certificate("Example Root CA", OTHER_KEY, lifetime=(BEGIN, LATER))
ISSUING = certificate("Example Issuing CA", ISSUING_KEY, ("Example Root CA", ROOT_KEY))
ROOT_PEM, ROOT_DER = pem(ROOT), _der(ROOT)
TITLE, *LINES = ROOT_PEM.splitlines(keepends=True)
LEAF: Final[Mapping[str, Extension | None]] = {
    "basic": (x509.BasicConstraints(ca=False, path_length=None), True),
    "usage": (usage(sign=False), True),
    "names": (x509.SubjectAlternativeName([x509.DNSName("payments.example")]), False),
}


def formats() -> Pairs:
    """Return files that are not whole certificates in PEM text, and what they should be."""
    request = x509.CertificateSigningRequestBuilder().subject_name(name("Example Root CA"))
    asked = request.sign(ROOT_KEY, hashes.SHA256()).public_bytes(Encoding.PEM)
    bad: Contents = {
        "pem-bad-base64": TITLE + "".join([*LINES[:3], LINES[3][:-6] + "\n", *LINES[4:]]),
        "pem-bad-length": TITLE + block(ROOT_DER[:-90]),
        "pem-block-header": TITLE + LINES[0] + "Proc-Type: 4,CLEAR\n\n" + "".join(LINES[1:]),
        "pem-no-certificate": "The certificate is in the ticket.\n",
        "pem-not-a-certificate": asked,
        "pem-not-pem": ROOT_DER,
    }
    return {code: (content, ROOT_PEM) for code, content in bad.items()}


def framing() -> Pairs:
    """Return files whose BEGIN and END lines do not fit, and the file that was meant."""
    successor = pem(certificate("Example Root CA 2", OTHER_KEY))
    untitled = successor.partition("\n")[2]
    bad = {
        "pem-conflict-marker": f"<<<<<<< HEAD\n{ROOT_PEM}=======\n{successor}>>>>>>> rotate-the-ca\n",
        "pem-label-mismatch": ROOT_PEM.replace("END CERTIFICATE", "END X509 CERTIFICATE"),
        "pem-malformed-marker": TITLE + textwrap.indent("".join(LINES), "    "),
        "pem-stray-base64": TITLE + "".join(LINES[1:-1]),
        "pem-unclosed-block": "".join([TITLE, *LINES[:-1]]),
        "pem-unopened-block": ROOT_PEM + LINES[-1],
    }
    bad["pem-joined-markers"] = ROOT_PEM.rstrip() + untitled
    mended = dict.fromkeys(bad, ROOT_PEM)
    mended |= {"pem-conflict-marker": ROOT_PEM + successor, "pem-joined-markers": ROOT_PEM + untitled}
    return {code: (text, mended[code]) for code, text in bad.items()}


def lasting() -> Pairs:
    """Return CA certificates with an extension that is not as it should be, and the same CA's mended ones."""
    clients = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
    foreign = x509.AuthorityKeyIdentifier.from_issuer_public_key(OTHER_KEY.public_key())
    bad: Mapping[str, Mapping[str, Extension | None]] = {
        "ca-basic-constraints-not-critical": {"basic": (x509.BasicConstraints(ca=True, path_length=None), False)},
        "ca-cannot-sign": {"usage": (usage(sign=False), True)},
        "ca-no-basic-constraints": {"basic": None},
        "ca-no-key-identifier": {"id": None},
        "ca-no-key-usage": {"usage": None},
        "ca-refused-when-strict": {"names": (x509.SubjectAlternativeName([]), False)},
        "ca-wrong-purpose": {"purpose": (clients, False)},
        "certificate-unknown-critical-extension": {"unknown": (unknown, True)},
        "root-foreign-key-identifier": {"by": (foreign, False)},
    }
    return {code: (_root(extensions), _root()) for code, extensions in bad.items()}


def _root(extensions: Mapping[str, Extension | None] | None = None, own: Any = None, **given: Any) -> str:
    return pem(certificate("Payments Root CA", own or key(), None, extensions, **given))


def certificates() -> Pairs:
    """Return certificates that are not fit to be trusted, each for a reason of its own, and their successors."""
    weak, strong = (rsa.generate_private_key(65537, bits) for bits in (1024, 2048))
    old = certificate("Payments Root CA", strong)
    below = certificate("Payments Issuing CA", key(), ("Payments Root CA", strong))
    torn = _der(certificate("Payments Root CA", ROOT_KEY))
    outer = torn.rindex(SHA256_WITH_EC)
    broken = torn[:outer] + SHA384_WITH_EC + torn[outer + len(SHA384_WITH_EC) :]
    unusual = ec.generate_private_key(ec.SECP256K1())
    negative = forced(old, strong, SERIAL, b"\xd5" + SERIAL[1:])
    return {
        "ca-excludes-host": (_limited("cards.example"), _limited("payments.example")),
        "ca-empty-subject": (pem(certificate("", key())), _root()),
        "certificate-expired": (_root(lifetime=(EARLY, BEGIN)), _root()),
        "certificate-expires-soon": (_root(lifetime=(EARLY, SOON)), _root()),
        "certificate-not-a-ca": (_issued("Payments Root CA", ROOT_KEY), _root(own=ROOT_KEY)),
        "certificate-not-yet-valid": (_root(lifetime=(LATE, END)), _root()),
        "certificate-odd-name": (pem(certificate("Payments Root \u202eAC", key())), _root()),
        "certificate-odd-serial": (described("Payments Root CA", negative), pem(old)),
        "certificate-unusual-key": (_root(own=unusual), _root()),
        "certificate-weak-hash": (
            pem(old) + described("Payments Issuing CA", with_sha1(below, strong)),
            pem(old, below),
        ),
        "certificate-weak-key": (_root(own=weak), _root(own=strong)),
        "root-weak-self-signature": (described("Payments Root CA", with_sha1(old, strong)), pem(old)),
        "server-certificate-pinned": (pem(certificate("payments.example", key(), None, LEAF)), _root()),
        "unreadable-certificate": (described("Payments Root CA", broken), described("Payments Root CA", torn)),
    }


def _limited(domain: str) -> str:
    constraints = x509.NameConstraints([x509.DNSName(domain)], None)
    return _root({"names": (constraints, True)})


def _issued(by: str, signer: Any) -> str:
    return pem(certificate("payments.example", key(), (by, signer), LEAF))


def bundles() -> Pairs:
    """Return certificates that do not belong together, and those that do."""
    own, forged = key(), key()
    by_root = {"by": (x509.AuthorityKeyIdentifier.from_issuer_public_key(ROOT_KEY.public_key()), False)}
    short, long = (
        certificate("Short CA", own, None, {"basic": (x509.BasicConstraints(ca=True, path_length=length), True)})
        for length in (0, 1)
    )
    deep = certificate("Deep CA", key(), ("Short CA", own))
    last, *others = (ed25519.Ed25519PrivateKey.generate() for _ in range(21))
    crowd = [
        certificate("Crowd CA", last, lifetime=(BEGIN, LATER)),
        *(certificate("Crowd CA", each) for each in others),
    ]
    altered = certificate("Example Issuing CA", ISSUING_KEY, ("Example Root CA", forged), by_root)
    swapped = certificate("Payments Root CA", own, ("Payments Root CA", forged))
    crossed = certificate("Payments Root CA", own, ("Example Root CA", ROOT_KEY))
    rooted = certificate("Payments Root CA", own)
    return {
        "bundle-cross-signed": (pem(ROOT, rooted, crossed), pem(ROOT, rooted)),
        "bundle-bad-self-signature": (pem(swapped), _root(own=own)),
        "bundle-bad-signature": (pem(ROOT, altered), pem(ROOT, ISSUING)),
        "bundle-duplicate": (ROOT_PEM + ROOT_PEM, ROOT_PEM),
        "bundle-missing-root": (pem(ISSUING), pem(ISSUING, ROOT)),
        "bundle-path-too-long": (pem(short, deep), pem(long, deep)),
        "bundle-same-subject": (pem(ROOT, RENEWED), pem(RENEWED)),
        "bundle-too-large": (pem(*crowd), pem(crowd[0])),
    }


def illustrated(size: int) -> str:
    """Return a root with a picture of so many bytes in it, the same one each time."""
    picture = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.12"), bytes(size))
    own = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    return pem(certificate("Illustrated Root CA", own, None, {"picture": (picture, False)}))


def shared() -> Contents:
    """Return the files of the trees that show several things at once."""
    lax = {"basic": (x509.BasicConstraints(ca=True, path_length=None), False), "usage": None, "id": None}
    me = certificate("me", key(), ("Example Issuing CA", ISSUING_KEY), {"basic": None, "usage": None})
    old = rsa.generate_private_key(65537, 2048)
    return {
        "root.pem": ROOT_PEM,
        "trees/chain/root.pem": ROOT_PEM,
        "trees/chain/issuing.pem": f"Issued in 2026, in two files: the order does not matter.\n\n{pem(ISSUING)}",
        "trees/chain/me.crt": pem(me),
        "trees/references/present.pem": ROOT_PEM,
        "trees/rotation/ca.pem": pem(ROOT, RENEWED) + ROOT_PEM,
        "trees/strict/old.pem": described("Old Root CA", with_sha1(certificate("Old Root CA", old, None, lax), old)),
        "trees/strict/no-basic-constraints.pem": pem(certificate("No Constraints CA", key(), None, {"basic": None})),
        "trees/strict/unusual-key.pem": pem(certificate("Unusual CA", ec.generate_private_key(ec.SECP256K1()))),
    }


def foreign() -> Contents:
    """Return files that are taken for PEM files of certificates by mistake."""
    request = x509.CertificateSigningRequestBuilder().subject_name(name("Request")).sign(ROOT_KEY, hashes.SHA256())
    revoked = x509.CertificateRevocationListBuilder().issuer_name(name("Example Root CA"))
    revoked = revoked.last_update(BEGIN).next_update(END)
    return {
        "der.pem": ROOT_DER,
        "empty.pem": b"",
        "git-lfs.pem": f"version https://git-lfs.github.com/spec/v1\noid sha256:{'5f' * 32}\nsize 720\n",
        "html.pem": "<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n",
        "pkcs7.pem": pkcs7.serialize_certificates([ROOT], Encoding.PEM),
        "request.pem": request.public_bytes(Encoding.PEM),
        "revoked.pem": revoked.sign(ROOT_KEY, hashes.SHA256()).public_bytes(Encoding.PEM),
        "trusted.pem": ROOT_PEM.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
        "two-in-one.pem": block(ROOT_DER + _der(ISSUING)),
        "utf-16.pem": ROOT_PEM.encode("utf-16"),
    }


def guides() -> Contents:
    """Return the files of which the guides of the gateway platforms warn."""
    expired = certificate("Payments Root CA", key(), lifetime=(EARLY, BEGIN))
    me = certificate("me", key(), ("Example Issuing CA", ISSUING_KEY), LEAF)
    store = pkcs12.serialize_key_and_certificates(None, None, None, [ROOT], NoEncryption())
    return {
        "wrong-type-of-file/binary.cer": ROOT_DER,
        "wrong-type-of-file/download.pem": "<!DOCTYPE html>\n<html><body>Sign in to go on</body></html>\n",
        "wrong-type-of-file/keystore.crt": store,
        "missing-client-key/me.crt": pem(me),
        "invalid-pem/ca.pem": "".join([TITLE, *LINES[:3], LINES[3][:-6] + "\n", *LINES[4:]]),
        "missing-chain/ca.pem": pem(ISSUING),
        "wrong-order/ca.pem": pem(ISSUING, ROOT),
        "right-order/ca.pem": pem(ROOT, ISSUING),
        "expired/ca.pem": pem(expired),
    }


PLAIN: Final = (
    "rules/bundle-without-tls/bad/ca.pem",
    "rules/bundle-without-tls/good/ca.pem",
    "rules/ca-in-two-environments/bad/ca.pem",
    "rules/ca-in-two-environments/good/ca.pem",
    "rules/bundle-not-used-by-platform/bad/ca.pem",
    "rules/bundle-not-used-by-platform/good/ca.pem",
    "rules/client-certificate-not-used-by-platform/good/ca.pem",
    "rules/missing-file/bad/payments-ca.pem",
    "rules/missing-file/good/payments-ca.pem",
    "rules/path-leaves-root/good/ca.pem",
    "rules/pinned-certificate-refused/good/ca.pem",
    "rules/unreferenced-pem/bad/ca.pem",
    "rules/unreferenced-pem/good/ca.pem",
    "rules/unusable-file/good/ca.pem",
)
"""Files that hold the same good certificate, for rules that are not about it."""

BY_HAND: Final = frozenset({"rules/ca-explicit-curve/bad/ca.pem"})
"""What is not made here."""

PAIRS: Final[tuple[Callable[[], Pairs], ...]] = (formats, framing, lasting, certificates, bundles)


def every_file() -> Contents:
    """Return the content of every file by its path."""
    files = dict(shared())
    files |= {f"trees/pem-files/{file}": content for file, content in foreign().items()}
    files |= {f"guides/{file}": content for file, content in guides().items()}
    for make in PAIRS:
        for code, (bad, good) in make().items():
            files |= {f"rules/{code}/bad/ca.pem": bad, f"rules/{code}/good/ca.pem": good}
    own = certificate("payments", key(), ("Example Issuing CA", ISSUING_KEY), LEAF)
    files |= {
        "rules/ca-explicit-curve/good/ca.pem": _root(),
        "rules/ca-in-two-environments/good/test-ca.pem": _root(),
        "rules/client-certificate-is-a-ca/bad/client.pem": pem(ISSUING),
        "rules/client-certificate-is-a-ca/good/client.pem": pem(own),
        "rules/client-certificate-not-used-by-platform/bad/client.pem": pem(own),
        "rules/client-certificate-not-used-by-platform/good/client.pem": pem(own),
        "rules/pinned-certificate-refused/bad/ca.pem": pem(certificate("payments.example", key(), None, LEAF)),
    }
    return files | dict.fromkeys(PLAIN, ROOT_PEM)


if __name__ == "__main__":
    for path, content in every_file().items():
        target = HERE / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
