"""What is said of a CA is what OpenSSL does with the servers below it, up to Python 3.12 and since 3.13."""

from __future__ import annotations

import ssl
from datetime import timedelta
from itertools import product
from typing import TYPE_CHECKING, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from handmade import (
    SINCE_3_13,
    UP_TO_3_12,
    HandmadeCa,
    authority_id,
    ca_extensions,
    key_id,
    name,
    new_key,
    usage,
    verify_code,
)
from raw_servers import NOW, VALID

from reconciler.core import der
from reconciler.core.pem import read_pem
from reconciler.core.trust import build_bundle
from reconciler.demo.pki import Lifetime, self_signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from handmade import Extension

    from reconciler.demo.pki import Identity

HOST = "mcp.example"
OLD, NEW = "Python up to 3.12", "Python since 3.13"
FLAGS: Final = {OLD: UP_TO_3_12, NEW: SINCE_3_13}
EVERYBODY: Final = frozenset(FLAGS)

REFUSED_BY: Final = {
    "bundle-missing-root": {OLD},
    "root-foreign-key-identifier": {OLD},
    "ca-no-basic-constraints": {NEW},
    "ca-basic-constraints-not-critical": {NEW},
    "ca-no-key-usage": {NEW},
    "ca-no-key-identifier": {NEW},
    "ca-refused-when-strict": {NEW},
    "ca-empty-subject": {NEW},
    "ca-cannot-sign": EVERYBODY,
    "ca-wrong-purpose": EVERYBODY,
    "certificate-not-a-ca": EVERYBODY,
    "certificate-unknown-critical-extension": EVERYBODY,
    "server-certificate-pinned": EVERYBODY,  # as an issuer, that is
}


def codes(*texts: str) -> set[str]:
    files = [read_pem(f"{number}.pem", text.encode()) for number, text in enumerate(texts)]
    assert [file.problems for file in files] == [()] * len(files)
    _, problems = build_bundle(files, NOW)
    return {problem.code for problem in problems}


def verdicts(trusted: tuple[str, ...], server: Identity) -> tuple[int, int]:
    """Return the verification errors up to Python 3.12 and since 3.13, or zero."""
    text = "\n".join(trusted)
    return verify_code(text, server, HOST, UP_TO_3_12), verify_code(text, server, HOST, SINCE_3_13)


def refused(*trusted: str, server: Identity) -> set[str]:
    return {who for who, code in zip(FLAGS, verdicts(trusted, server), strict=True) if code}


def announced(*trusted: str) -> set[str]:
    return set().union(*(REFUSED_BY[code] for code in codes(*trusted)))


SIGNS: Final = usage("key_cert_sign", "crl_sign")
ROOT: Final = HandmadeCa.faultless("Root")
KEY: Final = new_key()
ANOTHERS: Final = authority_id(new_key())

BASIC: Final[dict[str, Extension | None]] = {
    "basicConstraints critical": (x509.BasicConstraints(ca=True, path_length=None), True),
    "basicConstraints not critical": (x509.BasicConstraints(ca=True, path_length=None), False),
    "no basicConstraints": None,
    "no CA": (x509.BasicConstraints(ca=False, path_length=None), True),
}
USAGE: Final[dict[str, Extension | None]] = {
    "keyCertSign": SIGNS,
    "no keyCertSign": usage("digital_signature"),
    "no keyUsage": None,
}
KEY_ID: Final[dict[str, Extension | None]] = {
    "SKI": key_id(KEY),
    "no SKI": None,
}
AUTHORITY: Final = ["the issuer's AKI", "another's AKI", "no AKI"]
POSITION: Final = ["root", "intermediate", "intermediate alone"]


def authority(which: str, issuer: HandmadeCa | None) -> Extension | None:
    mine = authority_id(issuer.key if issuer is not None else KEY)
    return {"the issuer's AKI": mine, "another's AKI": ANOTHERS, "no AKI": None}[which]


@pytest.mark.parametrize("position", POSITION)
@pytest.mark.parametrize("basic", BASIC)
def test_what_is_announced_of_any_ca_is_what_happens_to_the_servers_below_it(basic: str, position: str) -> None:
    issuer = None if position == "root" else ROOT
    above = (ROOT.pem,) if position == "intermediate" else ()
    for signing, identifier, which in product(USAGE, KEY_ID, AUTHORITY):
        parts = (BASIC[basic], USAGE[signing], KEY_ID[identifier], authority(which, issuer))
        ca = HandmadeCa("CA", *(part for part in parts if part is not None), key=KEY, parent=issuer)
        trusted = (*above, ca.pem)
        expected, actual = announced(*trusted), refused(*trusted, server=ca.server(HOST))
        assert actual == expected, (position, basic, signing, identifier, which, codes(*trusted))


def encoded(tag: int, *contents: bytes) -> bytes:
    body = b"".join(contents)
    size = (len(body).bit_length() + 7) // 8
    return bytes([tag, len(body)] if len(body) < 0x80 else [tag, 0x80 | size, *len(body).to_bytes(size)]) + body


def rewritten(ca: HandmadeCa, change: Callable[[list[bytes]], list[bytes]]) -> str:
    """Return the certificate with other encoded fields, signed anew by its own key."""
    outer = der.elements(ca.certificate.public_bytes(Encoding.DER))[0]
    signed, algorithm, _ = der.elements(outer.content)
    fields = change([field.whole for field in der.elements(signed.content, 9)])
    tbs = encoded(der.SEQUENCE, *fields)
    signature = ca.key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    whole = encoded(der.SEQUENCE, tbs, algorithm.whole, encoded(3, b"\0", signature))
    return ssl.DER_cert_to_PEM_cert(whole).strip()


def number(value: int) -> bytes:
    return encoded(2, value.to_bytes(value.bit_length() // 8 + 1))


P = 2**256 - 2**224 + 2**192 + 2**96 - 1
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
A = bytes.fromhex("ffffffff00000001000000000000000000000000fffffffffffffffffffffffc")
B = bytes.fromhex("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b")
G = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
SPELLED_OUT = encoded(
    der.SEQUENCE,
    number(1),
    encoded(der.SEQUENCE, bytes.fromhex("06072a8648ce3d0101"), number(P)),
    encoded(der.SEQUENCE, encoded(4, A), encoded(4, B)),
    encoded(4, G),
    number(ORDER),
    number(1),
)
NAMED = bytes.fromhex("06082a8648ce3d030107")


def with_explicit_curve(ca: HandmadeCa) -> str:
    def change(fields: list[bytes]) -> list[bytes]:
        algorithm, point = der.elements(der.elements(fields[6])[0].content)
        assert der.elements(algorithm.content)[1].whole == NAMED
        identifier = der.elements(algorithm.content)[0].whole
        spelled = encoded(der.SEQUENCE, encoded(der.SEQUENCE, identifier, SPELLED_OUT), point.whole)
        return [*fields[:6], spelled, *fields[7:]]

    return rewritten(ca, change)


def purposes(*those: x509.ObjectIdentifier) -> Extension:
    return x509.ExtendedKeyUsage(those), False


NO_NAMES = (x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x00"), False)
STEP_UP = x509.ObjectIdentifier("2.16.840.1.113730.4.1")
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
NAMELESS = HandmadeCa.faultless("")


def changed(**parts: Extension | None) -> HandmadeCa:
    """Return a root of which some parts are others, or missing."""
    every = ca_extensions(KEY) | parts
    return HandmadeCa("CA", *(part for part in every.values() if part is not None), key=KEY)


ROOTS: Final = {
    "faultless": (changed(), "", (0, 0)),
    "no basicConstraints": (changed(basic=None), "ca-no-basic-constraints", (0, 79)),
    "basicConstraints not critical": (
        changed(basic=BASIC["basicConstraints not critical"]),
        "ca-basic-constraints-not-critical",
        (0, 89),
    ),
    "no keyUsage": (changed(usage=None), "ca-no-key-usage", (0, 92)),
    "no subjectKeyIdentifier": (changed(id=None), "ca-no-key-identifier", (0, 86)),
    "critical subjectKeyIdentifier": (
        changed(id=(key_id(KEY)[0], True)),
        "certificate-unknown-critical-extension",
        (34, 34),
    ),
    "critical authorityKeyIdentifier": (
        changed(authority=(authority_id(KEY)[0], True)),
        "certificate-unknown-critical-extension",
        (34, 34),
    ),
    "foreign authorityKeyIdentifier": (changed(authority=ANOTHERS), "root-foreign-key-identifier", (2, 0)),
    "keyUsage without keyCertSign": (changed(usage=USAGE["no keyCertSign"]), "ca-cannot-sign", (79, 79)),
    "path length zero": (changed(basic=(x509.BasicConstraints(ca=True, path_length=0), True)), "", (0, 0)),
    "for TLS servers": (changed(purpose=purposes(SERVER, CLIENT)), "", (0, 0)),
    "for TLS servers of old": (changed(purpose=purposes(STEP_UP)), "", (0, 0)),
    "for TLS clients": (changed(purpose=purposes(CLIENT)), "ca-wrong-purpose", (26, 26)),
    "for any purpose": (changed(purpose=purposes(ANY)), "ca-wrong-purpose", (26, 26)),
    "an empty subjectAltName": (changed(names=NO_NAMES), "ca-refused-when-strict", (0, 87)),
    "an empty subject": (NAMELESS, "ca-empty-subject", (0, 83)),
}


@pytest.mark.parametrize(("ca", "code", "expected"), ROOTS.values(), ids=ROOTS)
def test_a_root_fails_with_the_number_that_the_documentation_gives(
    ca: HandmadeCa, code: str, expected: tuple[int, int]
) -> None:
    assert codes(ca.pem) == ({code} if code else set())
    assert verdicts((ca.pem,), ca.server(HOST)) == expected


REWRITTEN: Final = {
    "version 1 with extensions": (
        lambda ca: rewritten(ca, lambda fields: fields[1:]),
        "ca-refused-when-strict",
        (0, 93),
    ),
    "a curve that is spelled out": (with_explicit_curve, "ca-explicit-curve", (94, 94)),
}


@pytest.mark.parametrize(("rewrite", "code", "expected"), REWRITTEN.values(), ids=REWRITTEN)
def test_a_root_that_is_refused_for_its_encoding_is_told_of(
    rewrite: Callable[[HandmadeCa], str], code: str, expected: tuple[int, int]
) -> None:
    text = rewrite(ROOT)
    assert codes(text) == {code}
    assert verdicts((text,), ROOT.server(HOST)) == expected


def test_a_root_of_version_1_without_extensions_is_a_root_until_python_3_13() -> None:
    text = rewritten(ROOT, lambda fields: fields[1:7])
    assert announced(text) == refused(text, server=ROOT.server(HOST)) == {NEW}


def test_an_intermediate_of_version_1_is_no_ca() -> None:
    text = rewritten(ROOT, lambda fields: fields[1:7])
    below = HandmadeCa("Below", parent=ROOT)
    assert announced(text, below.pem) == refused(text, below.pem, server=below.server(HOST)) == EVERYBODY


@pytest.mark.parametrize("ca", [True, False])
def test_a_pinned_server_is_accepted_by_everybody(ca: bool) -> None:
    server = self_signed([HOST], VALID, ca=ca)
    assert codes(server.leaf_pem) == {"server-certificate-pinned"}
    assert refused(server.leaf_pem, server=server) == set()


def limited(subject: str, path_length: int | None, parent: HandmadeCa | None) -> HandmadeCa:
    key = new_key()
    parts = ca_extensions(key) | {"basic": (x509.BasicConstraints(ca=True, path_length=path_length), True)}
    above = [authority_id(parent.key)] if parent is not None else []
    return HandmadeCa(subject, *parts.values(), *above, key=key, parent=parent)


@pytest.mark.parametrize("of_the_root", [None, 0, 1, 2])
def test_a_path_length_is_told_of_exactly_when_the_chain_breaks_it(of_the_root: int | None) -> None:
    for of_the_first, of_the_second in product([None, 0, 1], repeat=2):
        root = limited("Root", of_the_root, None)
        first = limited("First", of_the_first, root)
        second = limited("Second", of_the_second, first)
        trusted = (root.pem, first.pem, second.pem)
        broken = verdicts(trusted, second.server(HOST))[0]
        assert broken in {0, 25}
        assert ("bundle-path-too-long" in codes(*trusted)) == (broken == 25), (of_the_root, of_the_first)


OWN: Final = HandmadeCa.faultless("Twice", key=KEY)
CROSS: Final = HandmadeCa.faultless("Twice", key=KEY, parent=ROOT)
LASTING: Final = HandmadeCa.faultless(
    "Twice", key=KEY, parent=ROOT, lifetime=Lifetime(VALID.not_before, VALID.not_after + timedelta(days=99))
)


@pytest.mark.parametrize("cross", [CROSS, LASTING], ids=["equally long", "longer"])
@pytest.mark.parametrize("above", [(), (ROOT.pem,)], ids=["without the signer", "with the signer"])
def test_a_cross_signed_ca_is_accepted_by_everybody_beside_its_own_root(
    cross: HandmadeCa, above: tuple[str, ...]
) -> None:
    trusted = (cross.pem, OWN.pem, *above)
    assert codes(*trusted) == {"bundle-cross-signed"}
    bundle, _ = build_bundle([read_pem("ca.pem", "\n".join(trusted).encode())], NOW)
    assert bundle is not None
    for server in (OWN.server(HOST), OWN.server(HOST, cross)):
        assert verdicts((bundle.pem,), server) == (0, 0)


def test_the_order_of_a_bundle_matters_to_openssl_where_a_ca_is_cross_signed() -> None:
    assert verdicts((CROSS.pem, OWN.pem), OWN.server(HOST)) == (2, 0)


def test_a_ca_whose_identifier_names_a_renewed_root_is_an_orphan_until_python_3_13() -> None:
    serial = x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(name("Root"))], 12345)
    key = new_key()
    below = HandmadeCa("Below", *ca_extensions(key).values(), (serial, False), key=key, parent=ROOT)
    assert codes(ROOT.pem, below.pem) == {"bundle-missing-root"}
    assert announced(ROOT.pem, below.pem) == refused(ROOT.pem, below.pem, server=below.server(HOST)) == {OLD}
