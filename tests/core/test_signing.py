"""Signatures: what is signed, what counts as genuine, and which keys are taken."""

from __future__ import annotations

import base64
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.signing import (
    BadSignatureError,
    Keyring,
    SignatureStatus,
    Verdict,
    generate,
    key_id,
    load_private_key,
    public_text,
    sign_bundle,
    verify_bundle,
)
from reconciler.errors import InputError, SignerError

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "-----BEGIN CERTIFICATE-----\nnot one, and of no matter here\n-----END CERTIFICATE-----"
PAIR = generate()
KEY = load_private_key(PAIR.private)


class Signing:
    """A signer over a key in memory."""

    def __init__(self, key: ed25519.Ed25519PrivateKey) -> None:
        self._key = key
        self.signed = 0

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def sign(self, payload: bytes) -> bytes:
        self.signed += 1
        return self._key.sign(payload)


SIGNATURE = sign_bundle(Signing(KEY), TEXT)


def spki(public: bytes) -> bytes:
    key = ed25519.Ed25519PublicKey.from_public_bytes(public)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_the_vector_of_rfc_8032_is_reproduced() -> None:
    seed = bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
    expected = (
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )
    key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    assert key.sign(b"\xaf\x82").hex() == expected
    assert sign_bundle(Signing(key), "r") == key.sign(b"r").hex()


def test_a_signature_is_lower_case_hex_and_deterministic() -> None:
    assert len(SIGNATURE) == 128
    assert bytes.fromhex(SIGNATURE).hex() == SIGNATURE == sign_bundle(Signing(KEY), TEXT)


@given(st.text(min_size=1))
def test_whatever_is_signed_verifies_over_exactly_its_utf8_bytes(text: str) -> None:
    signature = sign_bundle(Signing(KEY), text)
    KEY.public_key().verify(bytes.fromhex(signature), text.encode("utf-8"))
    verify_bundle(text, signature, PAIR.public)


@given(st.integers(0, 127), st.sampled_from("0123456789abcdef"))
def test_no_other_signature_verifies(place: int, digit: str) -> None:
    other = SIGNATURE[:place] + digit + SIGNATURE[place + 1 :]
    if other == SIGNATURE:
        verify_bundle(TEXT, other, PAIR.public)
    else:
        with pytest.raises(BadSignatureError):
            verify_bundle(TEXT, other, PAIR.public)


@pytest.mark.parametrize(
    ("text", "signature", "public"),
    [
        (TEXT + "\n", SIGNATURE, PAIR.public),
        (TEXT, SIGNATURE.upper(), PAIR.public),
        (TEXT, SIGNATURE + "\n", PAIR.public),
        (TEXT, SIGNATURE[:-2], PAIR.public),
        (TEXT, "", PAIR.public),
        (TEXT, "ü" * 128, PAIR.public),
        (TEXT, SIGNATURE, generate().public),
        (TEXT, SIGNATURE, b"short"),
        ("\udc80", SIGNATURE, PAIR.public),
    ],
    ids=[
        "one more line end",
        "upper case",
        "line end",
        "cut short",
        "empty",
        "no hex",
        "other key",
        "no key",
        "a text that is no Unicode",
    ],
)
def test_what_differs_does_not_verify(text: str, signature: str, public: bytes) -> None:
    with pytest.raises(BadSignatureError):
        verify_bundle(text, signature, public)


def test_openssl_verifies_the_signature(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_bytes(TEXT.encode())
    (tmp_path / "signature").write_bytes(bytes.fromhex(SIGNATURE))
    (tmp_path / "public.pem").write_bytes(spki(PAIR.public))
    command = "openssl pkeyutl -verify -rawin -pubin -inkey public.pem -in bundle -sigfile signature"
    done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Verified Successfully" in done.stdout


def test_a_key_id_is_a_digest_of_what_openssl_calls_the_public_key(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(PAIR.private)
    export = ["openssl", "pkey", "-in", "key.pem", "-pubout", "-outform", "DER", "-out", "public.der"]
    subprocess.run(export, cwd=tmp_path, check=True)
    digest = subprocess.run(
        ["openssl", "dgst", "-sha256", "-r", "public.der"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert key_id(PAIR.public) == digest.stdout[:16]


def test_a_new_key_is_new_and_hides_its_private_half() -> None:
    other = generate()
    assert other.public != PAIR.public
    assert load_private_key(other.private).public_key().public_bytes_raw() == other.public
    assert other.private.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert "PRIVATE" not in repr(other)


# --- the keyring


OTHER = generate()
RING = Keyring.of_raw({"2026": PAIR.public, "2025": OTHER.public})
EMPTY = Keyring.of({})


@pytest.mark.parametrize(
    ("text", "signature", "ring", "status"),
    [
        (TEXT, SIGNATURE, RING, SignatureStatus.VALID),
        (TEXT + " ", SIGNATURE, RING, SignatureStatus.INVALID),
        (TEXT, "ab" * 64, RING, SignatureStatus.INVALID),
        (TEXT, "nonsense", RING, SignatureStatus.INVALID),
        (TEXT, "", RING, SignatureStatus.MISSING),
        (TEXT, "", EMPTY, SignatureStatus.UNKNOWN),
        (TEXT, SIGNATURE, EMPTY, SignatureStatus.UNKNOWN),
        ("", "", RING, SignatureStatus.VALID),
        ("", "", EMPTY, SignatureStatus.VALID),
        ("", SIGNATURE, RING, SignatureStatus.INVALID),
        ("", SIGNATURE, EMPTY, SignatureStatus.INVALID),
        ("\udc80", SIGNATURE, RING, SignatureStatus.INVALID),
    ],
    ids=[
        "genuine",
        "text changed",
        "signature changed",
        "no signature at all",
        "signature missing",
        "signature missing and no keys",
        "no keys",
        "nothing to sign",
        "nothing to sign and no keys",
        "signature without a text",
        "signature without a text and no keys",
        "a text that is no Unicode",
    ],
)
def test_every_pair_of_text_and_signature_has_a_status(
    text: str, signature: str, ring: Keyring, status: SignatureStatus
) -> None:
    assert ring.verdict(text, signature).status is status


def test_a_verdict_names_the_key_that_signed() -> None:
    assert RING.verdict(TEXT, SIGNATURE) == Verdict(SignatureStatus.VALID, key_id(PAIR.public), "2026")
    assert RING.verdict(TEXT, "") == Verdict(SignatureStatus.MISSING, "", "")


def test_a_verdict_is_reached_once() -> None:
    ring = Keyring.of_raw({"a": PAIR.public})
    assert ring.verdict(TEXT, SIGNATURE) is ring.verdict(TEXT, SIGNATURE)
    assert ring.verdict(TEXT, SIGNATURE) is not ring.verdict(TEXT, "")


def test_verdicts_do_not_make_keyrings_different() -> None:
    one, other = Keyring.of_raw({"a": PAIR.public}), Keyring.of_raw({"a": PAIR.public})
    one.verdict(TEXT, SIGNATURE)
    assert one == other


@pytest.mark.parametrize(
    "text",
    [
        public_text(PAIR.public),
        f" {public_text(PAIR.public)}\n",
        spki(PAIR.public).decode(),
        spki(PAIR.public).decode().strip(),
        spki(PAIR.public).decode().replace("\n", "\r\n"),
    ],
    ids=["base64", "white space around", "PEM", "PEM without its last line end", "CRLF"],
)
def test_a_public_key_is_base64_or_pem(text: str) -> None:
    assert Keyring.of({"key": text}).key_ids == {key_id(PAIR.public)}


def elliptic_public() -> str:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "0 bytes"),
        ("hello!", "neither"),
        (base64.b64encode(b"\1" * 31).decode(), "31 bytes"),
        (base64.b64encode(bytes(32)).decode(), "low order"),
        (base64.b64encode(bytes(31) + b"\x80").decode(), "low order"),
        (PAIR.public.hex(), "48 bytes"),
        (elliptic_public(), "not an Ed25519 key"),
        (spki(PAIR.public).decode() * 2, "neither"),
        (PAIR.private.decode(), "private key"),
    ],
    ids=["empty", "prose", "31 bytes", "zero", "zero with a sign", "hex", "EC", "two keys", "private"],
)
def test_a_bad_entry_is_named_and_not_repeated(text: str, what: str) -> None:
    with pytest.raises(InputError, match="the trusted key payments") as caught:
        Keyring.of({"good": public_text(PAIR.public), "payments": text})
    assert what in str(caught.value)
    assert caught.value.fix
    assert all(line not in f"{caught.value} {caught.value.fix}" for line in text.splitlines() if len(line) > 8)


def test_a_raw_key_of_another_length_is_refused() -> None:
    with pytest.raises(InputError, match="the trusted key short has 3 bytes"):
        Keyring.of_raw({"short": b"abc"})


# --- private keys


def form(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, kind: PrivateFormat) -> str:
    return key.private_bytes(Encoding.PEM, kind, NoEncryption()).decode()


RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
LOCKED = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode()
PLAIN = PAIR.private.decode()
SEED = base64.b64encode(KEY.private_bytes_raw()).decode()

REFUSED = {
    "encrypted": (LOCKED, "is encrypted"),
    "RSA in PKCS#8": (form(RSA, PrivateFormat.PKCS8), "RSA"),
    "RSA in PKCS#1": (form(RSA, PrivateFormat.TraditionalOpenSSL), "RSA"),
    "EC in PKCS#8": (form(EC, PrivateFormat.PKCS8), "of kind EC,"),
    "EC in SEC 1": (form(EC, PrivateFormat.TraditionalOpenSSL), "an EC key"),
    "Ed448": (
        ed448.Ed448PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "Ed448",
    ),
    "OpenSSH": (form(KEY, PrivateFormat.OpenSSH), "OpenSSH"),
    "base64 seed": (SEED, "bare base64"),
    "literal \\n": (PLAIN.replace("\n", "\\n"), "literal"),
    "public key": (spki(PAIR.public).decode(), "not a private key"),
    "two keys": (PLAIN + PLAIN, "several"),
    "empty": (" \n", "empty"),
    "a path": ("./signing.key", "not PEM text"),
    "damaged": (PLAIN.replace("M", "", 1), "damaged"),
    "huge": (PLAIN + "x" * 70_000, "far too large"),
    "another key block": (PLAIN.replace("PRIVATE", "ANY PRIVATE"), "unknown kind"),
}


@pytest.mark.parametrize(("text", "what"), REFUSED.values(), ids=REFUSED)
def test_anything_but_a_plain_pkcs8_key_is_named_and_not_shown(text: str, what: str) -> None:
    with pytest.raises(SignerError) as caught:
        load_private_key(text.encode())
    shown = f"{caught.value} {caught.value.fix} {caught.value.__cause__}"
    assert what in shown
    assert caught.value.fix
    assert all(line not in shown for line in text.replace("\\n", "\n").splitlines() if len(line) > 20)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_plain_key_is_taken_with_either_line_end(ends: str) -> None:
    assert load_private_key(PLAIN.replace("\n", ends).encode()).private_bytes_raw() == KEY.private_bytes_raw()


@given(st.binary(max_size=200))
def test_no_bytes_are_taken_for_a_key_or_raise_anything_else(data: bytes) -> None:
    with pytest.raises(SignerError):
        load_private_key(data)


@given(st.text(max_size=100))
def test_no_text_as_a_public_key_raises_anything_else(text: str) -> None:
    try:
        ring = Keyring.of({"x": text})
    except InputError:
        return
    assert len(ring.keys[0].public) == 32


def test_signing_does_not_load_x509() -> None:
    code = (
        "import sys; from reconciler.core.signing import Keyring, generate; "
        "assert 'cryptography' not in sys.modules; "
        "Keyring.of_raw({'a': generate().public}).verdict('text', 'ab' * 64); "
        "assert 'cryptography.x509' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
