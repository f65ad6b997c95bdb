"""PEM files: what is taken, and what each kind of damage is called."""

from __future__ import annotations

import base64
import re
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs7,
    pkcs12,
)
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.pem import MAX_BLOCKS, MAX_BYTES, PemFile, read_pem
from reconciler.core.problems import has_errors
from reconciler.demo.pki import Authority, Lifetime, pem

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
ROOT = Authority.root("Test Root", Lifetime.around(NOW))
OTHER = Authority.root("Other Root", Lifetime.around(NOW))
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
BODY = ROOT.pem.removeprefix(BEGIN + "\n").removesuffix("\n" + END)
DER = ROOT.certificate.public_bytes(Encoding.DER)
KEY = ec.generate_private_key(ec.SECP256R1())
PASSWORD = BestAvailableEncryption(b"secret")


def read(text: str | bytes, name: str = "ca.pem") -> PemFile:
    return read_pem(name, text.encode() if isinstance(text, str) else text)


def codes(file: PemFile) -> list[tuple[str, int]]:
    return [(problem.code, problem.location.line) for problem in file.problems]


def block(data: bytes, label: str = "CERTIFICATE") -> str:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(data).decode()}-----END {label}-----\n"


def fingerprints(file: PemFile) -> list[str]:
    return [certificate.sha256 for certificate in file.certificates]


def test_a_certificate_is_read_with_every_field() -> None:
    (found,) = read(f"# our root\n\n{ROOT.pem}\n", "dir/ca.pem").certificates
    assert found.subject == found.issuer == "CN=Test Root"
    assert found.sha256 == ROOT.certificate.fingerprint(hashes.SHA256()).hex()
    assert (found.not_before, found.not_after) == (ROOT.lifetime.not_before, ROOT.lifetime.not_after)
    assert (found.root, found.ca) == (True, True)
    assert (found.file, found.line) == ("dir/ca.pem", 3)
    assert found.pem == ROOT.pem


@pytest.mark.parametrize(
    "text",
    [
        ROOT.pem,
        ROOT.pem + "\n\n",
        ROOT.pem.replace("\n", "\r\n"),
        ROOT.pem.replace("\n", "\r"),
        "\ufeff" + ROOT.pem,
        ROOT.pem.replace("\n", " \t\n"),
        f"{BEGIN}\n" + "\n".join(BODY.replace("\n", "")) + f"\n{END}",
        f"{BEGIN}\n" + BODY.replace("\n", "") + f"\n{END}",
        f"{BEGIN}\n\n  {BODY}\n\n{END}",
        f"subject=CN = Größe → ünïcode\n{ROOT.pem}\nthe end",
        b"caf\xe9 in Latin-1\n" + ROOT.pem.encode(),
    ],
    ids=[
        "as is",
        "line ends behind",
        "CRLF",
        "CR",
        "byte order mark",
        "white space at line ends",
        "one character a line",
        "one line",
        "blank and indented lines inside",
        "text around",
        "Latin-1 around",
    ],
)
def test_harmless_variations_give_the_same_certificate(text: str | bytes) -> None:
    file = read(text)
    assert file.problems == ()
    assert [certificate.pem for certificate in file.certificates] == [ROOT.pem]


@pytest.mark.parametrize("name", ["ca.pem", "ca.crt", "CA.CER", "x/ca.Cert"])
def test_four_suffixes_are_taken_in_any_case(name: str) -> None:
    assert read(ROOT.pem, name).problems == ()


@pytest.mark.parametrize("name", ["ca.txt", "ca", "ca.key", "pem"])
def test_other_suffixes_are_refused(name: str) -> None:
    assert codes(read(ROOT.pem, name)) == [("pem-file-suffix", 1)]


LAST = ROOT.pem.count("\n") + 1
SWAPPED = f"{BODY[:10]}*{BODY[11:]}"

DAMAGED = {
    "indented marker": (f" {BEGIN}\n{BODY}\n{END}", "pem-malformed-marker", 1),
    "text before the marker": (f"root: {BEGIN}\n{BODY}\n{END}", "pem-malformed-marker", 1),
    "body on the marker's line": (f"{BEGIN}{BODY}\n{END}", "pem-malformed-marker", 1),
    "four hyphens": (f"{BEGIN[1:]}\n{BODY}\n{END}", "pem-malformed-marker", 1),
    "lower case marker": (f"{BEGIN.lower()}\n{BODY}\n{END}", "pem-malformed-marker", 1),
    "typographic hyphens": (
        "\u2014\u2013BEGIN CERTIFICATE\u2014\u2013\n" + BODY + "\n" + END,
        "pem-malformed-marker",
        1,
    ),
    "no line between blocks": (f"{ROOT.pem}{OTHER.pem}", "pem-joined-markers", ROOT.pem.count("\n") + 1),
    "blanks between markers on one line": (
        f"{BEGIN}\n{BODY}\n{END} {BEGIN}\n{BODY}\n{END}",
        "pem-joined-markers",
        LAST,
    ),
    "END before any BEGIN, on one line": (f"{END}{ROOT.pem}", "pem-unopened-block", 1),
    "BEGIN without END": (f"{BEGIN}\n{BODY}\n", "pem-unclosed-block", 1),
    "END without BEGIN": (f"{ROOT.pem}\ntext\n{END}", "pem-unopened-block", ROOT.pem.count("\n") + 3),
    "markers lost": (f"{ROOT.pem}\n{BODY}", "pem-stray-base64", ROOT.pem.count("\n") + 2),
    "other label at the end": (
        f"{BEGIN}\n{BODY}\n-----END X509 CRL-----",
        "pem-label-mismatch",
        ROOT.pem.count("\n") + 1,
    ),
    "headers": (f"{BEGIN}\nProc-Type: 4,CLEAR\n\n{BODY}\n{END}", "pem-block-header", 1),
    "bad character": (f"{BEGIN}\n{SWAPPED}\n{END}", "pem-bad-base64", 2),
    "non-ASCII character": (f"{BEGIN}\n{BODY}é\n{END}", "pem-bad-base64", ROOT.pem.count("\n")),
    "padding in the middle": (f"{BEGIN}\nAAA=\n{BODY}\n{END}", "pem-bad-base64", 1),
    "a character lost": (f"{BEGIN}\n{BODY[1:]}\n{END}", "pem-bad-base64", 1),
    "nothing inside": (f"{BEGIN}\n{END}", "pem-bad-base64", 1),
    "a line lost": (block(DER[:-48]), "pem-bad-length", 1),
    "two certificates in one block": (block(DER + DER), "pem-bad-length", 1),
    "bytes behind the certificate": (block(DER + b"\0\1\2"), "pem-bad-length", 1),
    "random base64": (f"{BEGIN}\n{'A' * 200}\n{END}", "pem-not-a-certificate", 1),
    "git conflict": (
        f"<<<<<<< HEAD\n{ROOT.pem}\n=======\n{OTHER.pem}\n>>>>>>> branch\n",
        "pem-conflict-marker",
        1,
    ),
    "NUL inside": (ROOT.pem.replace("M", "\0", 1), "pem-not-pem", 1),
    "only text": ("-- no certificate --\n", "pem-no-certificate", 1),
    "empty": ("", "pem-no-certificate", 1),
    "white space": (" \n\n", "pem-no-certificate", 1),
    "UTF-16": (ROOT.pem.encode("utf-16"), "pem-not-pem", 1),
    "UTF-16 without mark": (ROOT.pem.encode("utf-16-le"), "pem-not-pem", 1),
    "git-lfs pointer": ("version https://git-lfs.github.com/spec/v1\noid sha256:aa\n", "pem-not-pem", 1),
    "HTML": ("<!DOCTYPE html><p>Sign in", "pem-not-pem", 1),
    "UTF-16, big end first": (ROOT.pem.encode("utf-16-be"), "pem-not-pem", 1),
    "UTF-16 with text before it": (f"subject=CN = Root\n{ROOT.pem}".encode("utf-16-le"), "pem-not-pem", 1),
    "binary certificate": (DER, "pem-not-pem", 1),
    "binary certificates": (DER + DER, "pem-not-pem", 1),
    "random certificate": (block(b"\x30\x06\x30\x04\x30\x02\x30\x00"), "unreadable-certificate", 1),
}


@pytest.mark.parametrize(("text", "code", "line"), DAMAGED.values(), ids=DAMAGED)
def test_damage_is_named_with_its_line(text: str | bytes, code: str, line: int) -> None:
    file = read(text)
    assert (code, line) in codes(file)
    assert all(problem.fix or problem.code == "unreadable-certificate" for problem in file.problems)


def test_one_malformed_marker_is_one_problem() -> None:
    assert codes(read(f" {BEGIN}\n{BODY}\n{END}\n{OTHER.pem}\n")) == [("pem-malformed-marker", 1)]


def test_files_joined_without_a_line_break_are_one_problem_and_both_sides_are_read() -> None:
    file = read(f"{ROOT.pem}{OTHER.pem}\n")
    (problem,) = file.problems
    assert (problem.code, problem.location.line) == ("pem-joined-markers", LAST)
    assert [certificate.subject for certificate in file.certificates] == ["CN=Test Root", "CN=Other Root"]


def test_what_joins_files_as_advised_is_read_without_error(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_text(ROOT.pem)
    (tmp_path / "b.pem").write_text(OTHER.pem)
    (problem,) = read(shell("cat a.pem b.pem", tmp_path)).problems
    (command,) = re.findall("`(.*?)`", problem.fix)[:1]
    assert read(shell(command, tmp_path)).problems == ()


def test_a_private_key_behind_a_certificate_on_one_line_is_found() -> None:
    assert ("pem-private-key", LAST) in codes(read(ROOT.pem + private(KEY, PrivateFormat.PKCS8)))


@pytest.mark.parametrize(
    "text", ["-- begin of the list --", "# Begin certificate of Test Root", "======= roots ======="]
)
def test_prose_is_not_taken_for_a_marker(text: str) -> None:
    assert read(f"{text}\n{ROOT.pem}\n").problems == ()


def test_what_is_good_beside_a_damaged_block_is_still_read() -> None:
    file = read(f"{BEGIN}\n{BODY}\n{OTHER.pem}")
    assert codes(file) == [("pem-unclosed-block", 1)]
    assert [certificate.subject for certificate in file.certificates] == ["CN=Other Root"]


@pytest.mark.parametrize(
    "broken", [block(DER[:-48]), f"{BEGIN}\n{BODY[:-3]}\n{END}\n", block(DER[:40] + b"\0" + DER[41:])]
)
@pytest.mark.parametrize("first", [True, False])
def test_a_bundle_of_which_one_block_is_broken_is_refused_for_that_block(broken: str, first: bool) -> None:
    text = f"{broken}{OTHER.pem}\n" if first else f"{OTHER.pem}\n{broken}"
    file = read(text)
    assert [line for _, line in codes(file)] == [1 if first else OTHER.pem.count("\n") + 2]
    assert has_errors(file.problems)
    assert [certificate.subject for certificate in file.certificates] == ["CN=Other Root"]


def test_both_sides_of_a_conflict_are_marked() -> None:
    text = f"<<<<<<< HEAD\n{ROOT.pem}\n=======\n{OTHER.pem}\n>>>>>>> branch\n"
    assert [code for code, _ in codes(read(text))] == ["pem-conflict-marker"] * 2


KEY_REQUEST = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(KEY, hashes.SHA256())
REVOKED = (
    x509.CertificateRevocationListBuilder()
    .issuer_name(ROOT.certificate.subject)
    .last_update(NOW)
    .next_update(NOW)
    .sign(ROOT.key, hashes.SHA256())
)

OTHER_BLOCKS = {
    "CERTIFICATE REQUEST": KEY_REQUEST.public_bytes(Encoding.PEM),
    "X509 CRL": REVOKED.public_bytes(Encoding.PEM),
    "PUBLIC KEY": KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "PKCS7": pkcs7.serialize_certificates([ROOT.certificate], Encoding.PEM),
    "TRUSTED CERTIFICATE": block(DER, "TRUSTED CERTIFICATE").encode(),
    "DH PARAMETERS": block(b"123", "DH PARAMETERS").encode(),
}


@pytest.mark.parametrize(("label", "text"), OTHER_BLOCKS.items(), ids=OTHER_BLOCKS)
def test_other_blocks_are_named_and_not_skipped(label: str, text: bytes) -> None:
    file = read(ROOT.pem.encode() + b"\n" + text)
    (problem,) = file.problems
    assert problem.code == "pem-not-a-certificate"
    assert problem.location.line == ROOT.pem.count("\n") + 2
    assert label in problem.message
    assert problem.fix


def shell(command: str, directory: Path, *, typed: str = "") -> bytes:
    """Return what a command prints. What it asks for on a terminal is `typed` on its standard input."""
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=directory,
        input=typed.encode(),
        capture_output=True,
        check=False,
        start_new_session=True,
    )
    assert done.returncode == 0, f"{command}\n(this test needs openssl, sed, iconv and awk)\n{done.stderr.decode()}"
    return done.stdout


def trusted(text: str) -> bytes:
    command = ["openssl", "x509", "-trustout", "-addtrust", "serverAuth"]
    return subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout


def key_store() -> bytes:
    return pkcs12.serialize_key_and_certificates(b"n", KEY, None, [ROOT.certificate, OTHER.certificate], PASSWORD)


BOTH = [ROOT.certificate, OTHER.certificate]
FOREIGN = {
    "binary certificate": (DER, "binary (DER) certificate", 1),
    "PKCS#7": (pkcs7.serialize_certificates(BOTH, Encoding.PEM), "PKCS7", 2),
    "binary PKCS#7": (pkcs7.serialize_certificates(BOTH, Encoding.DER), "binary (DER) PKCS#7 bundle", 2),
    "PKCS#7 as certificate": (OTHER_BLOCKS["PKCS7"].replace(b"PKCS7", b"CERTIFICATE"), "PKCS#7 bundle", 1),
    "PKCS#12": (key_store(), "PKCS#12 key store, not PEM text; a private key in it counts as disclosed", 2),
    "trusted certificate": (trusted(ROOT.pem), "TRUSTED CERTIFICATE", 1),
    "certificate of old": (f"{ROOT.pem}\n".replace("CERTIFICATE", "X509 CERTIFICATE").encode(), "X509 CERTIFICATE", 1),
    "UTF-16": (f"{ROOT.pem}\n{OTHER.pem}\n".encode("utf-16"), "UTF-16 text", 2),
    "UTF-16, little end first": (f"{ROOT.pem}\n".encode("utf-16-le"), "UTF-16 text", 1),
    "UTF-16, big end first": (f"{ROOT.pem}\n".encode("utf-16-be"), "UTF-16 text", 1),
}


@pytest.mark.parametrize("name", ["ca.pem", "our CA's.cer", "-ca.crt", "$(touch oops).pem"])
@pytest.mark.parametrize(("data", "what", "count"), FOREIGN.values(), ids=FOREIGN)
def test_the_command_that_is_advised_makes_the_file_a_good_one(
    data: bytes, what: str, count: int, name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    (problem,) = read(data, name).problems
    assert what in problem.message
    shell(problem.fix.partition(": ")[2], tmp_path, typed="secret\n")
    converted = read((tmp_path / name).read_bytes(), name)
    assert (converted.problems, len(converted.certificates)) == ((), count)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("kind", ["PKCS#7", "PKCS#7 as certificate", "trusted certificate", "certificate of old"])
def test_among_other_blocks_the_command_takes_the_one_block_and_touches_nothing(kind: str, tmp_path: Path) -> None:
    data, _, count = FOREIGN[kind]
    mixed = f"# first\n{OTHER.pem}\n".encode() + data + f"{OTHER.pem}\n".encode()
    (tmp_path / "ca.pem").write_bytes(mixed)
    (problem,) = read(mixed).problems
    shell(problem.fix.partition(": ")[2], tmp_path)
    taken = read((tmp_path / "new.pem").read_bytes())
    assert (taken.problems, len(taken.certificates)) == ((), count)
    assert fingerprints(taken)[0] == ROOT.certificate.fingerprint(hashes.SHA256()).hex()
    assert (tmp_path / "ca.pem").read_bytes() == mixed


BINARY = {
    "request": (KEY_REQUEST.public_bytes(Encoding.DER), "certificate request"),
    "revocation list": (REVOKED.public_bytes(Encoding.DER), "revocation list"),
    "public key": (KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), "public key"),
    "two certificates": (DER + DER, "several binary (DER) certificates"),
}


@pytest.mark.parametrize(("data", "what"), BINARY.values(), ids=BINARY)
def test_what_no_command_converts_is_named_too(data: bytes, what: str) -> None:
    (problem,) = read(data).problems
    assert (problem.code, what in problem.message, "openssl" in problem.fix) == ("pem-not-pem", True, False)
    assert problem.fix


@pytest.mark.parametrize("kind", ["request", "revocation list", "public key"])
def test_what_stands_between_certificate_markers_is_named_for_what_it_is(kind: str) -> None:
    data, what = BINARY[kind]
    (problem,) = read(block(data)).problems
    assert (problem.code, what in problem.message) == ("pem-not-a-certificate", True)


def private(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, form: PrivateFormat, *, locked: bool = False) -> str:
    return key.private_bytes(Encoding.PEM, form, PASSWORD if locked else NoEncryption()).decode()


def raw(form: PrivateFormat, *, locked: bool = False) -> bytes:
    return KEY.private_bytes(Encoding.DER, form, PASSWORD if locked else NoEncryption())


RSA_KEY = rsa.generate_private_key(65537, 2048)
ED_KEY = ed25519.Ed25519PrivateKey.generate()

PRIVATE_KEYS = {
    "PKCS#8": private(KEY, PrivateFormat.PKCS8),
    "PKCS#1": private(RSA_KEY, PrivateFormat.TraditionalOpenSSL),
    "EC": private(KEY, PrivateFormat.TraditionalOpenSSL),
    "encrypted": private(KEY, PrivateFormat.PKCS8, locked=True),
    "encrypted with headers": private(KEY, PrivateFormat.TraditionalOpenSSL, locked=True),
    "OpenSSH": private(KEY, PrivateFormat.OpenSSH),
    "PKCS#8 as certificate": block(raw(PrivateFormat.PKCS8)),
    "EC as certificate": block(raw(PrivateFormat.TraditionalOpenSSL)),
    "encrypted as certificate": block(raw(PrivateFormat.PKCS8, locked=True)),
    "Ed25519 as certificate": block(ED_KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())),
    "behind a certificate in its block": block(DER + raw(PrivateFormat.PKCS8)),
    "indented": f"  {private(KEY, PrivateFormat.PKCS8)}",
    "without its end": private(KEY, PrivateFormat.PKCS8).partition("-----END")[0],
    "with another end": private(KEY, PrivateFormat.PKCS8).replace("END PRIVATE KEY", "END CERTIFICATE"),
    "PuTTY": "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPrivate-Lines: 1\nAAAAIOBVkZJ0",
}


@pytest.mark.parametrize("key", PRIVATE_KEYS.values(), ids=PRIVATE_KEYS)
def test_a_private_key_is_refused_and_nothing_of_it_is_shown(key: str) -> None:
    file = read(f"{ROOT.pem}\n{key}")
    problem = next(problem for problem in file.problems if problem.code == "pem-private-key")
    assert problem.location.line == ROOT.pem.count("\n") + 2
    assert problem.location.snippet == ""
    shown = repr(file.problems)
    assert not any(line in shown for line in key.splitlines() if len(line) > 20 and "-----" not in line)


@pytest.mark.parametrize("locked", [False, True])
def test_a_binary_private_key_is_a_private_key(locked: bool) -> None:
    assert codes(read(raw(PrivateFormat.PKCS8, locked=locked))) == [("pem-private-key", 1)]


@pytest.mark.parametrize(("text", "code", "line"), DAMAGED.values(), ids=DAMAGED)
def test_no_line_of_a_damaged_file_is_repeated(text: str | bytes, code: str, line: int) -> None:
    shown = repr(read(text).problems)
    assert (code in shown, f"line={line}" in shown) == (True, True)
    assert BODY.splitlines()[1] not in shown


def test_a_file_too_large_is_not_read() -> None:
    assert codes(read(b"A" * (MAX_BYTES + 1))) == [("pem-file-too-large", 1)]
    assert codes(read((ROOT.pem + "\n").encode().ljust(MAX_BYTES))) == []


def test_more_blocks_than_are_read_are_reported() -> None:
    file = read(f"{ROOT.pem}\n" * (MAX_BLOCKS + 1))
    assert len(file.certificates) == MAX_BLOCKS
    assert codes(file) == [("pem-too-many-blocks", MAX_BLOCKS * (ROOT.pem.count("\n") + 1) + 1)]


def test_problems_are_bounded() -> None:
    assert 0 < len(read(f"{END}\n" * 5_000).problems) < 100


def test_the_public_trust_store_is_read_whole() -> None:
    with open(certifi.where(), "rb") as file:  # noqa: PTH123 - certifi gives a string
        data = file.read()
    found = read(data)
    assert found.problems == ()
    assert len(found.certificates) == data.count(b"BEGIN CERTIFICATE")
    assert all(certificate.root and certificate.ca for certificate in found.certificates)


PIECES = st.sampled_from(
    [
        BEGIN,
        END,
        BODY,
        ROOT.pem,
        pem(OTHER.certificate),
        "-----BEGIN PRIVATE KEY-----",
        "<<<<<<< x",
        "\r",
        "=",
        " ",
        "a: b",
    ]
)


@given(st.lists(PIECES | st.text(max_size=20), max_size=12).map("\n".join))
def test_pem_soup_never_raises_and_loses_nothing_silently(soup: str) -> None:
    file = read(soup.encode("utf-8", "surrogatepass"))
    assert file.problems or file.certificates
    if not file.problems:
        assert len(file.certificates) == soup.count("-----BEGIN CERTIFICATE-----")


@given(st.binary(max_size=400))
def test_bytes_never_raise(data: bytes) -> None:
    assert read(data).problems


@given(st.data())
def test_a_damaged_certificate_is_read_or_refused_but_never_raises(data: st.DataObject) -> None:
    mutable = bytearray(DER)
    for index in data.draw(st.lists(st.integers(0, len(DER) - 1), min_size=1, max_size=4)):
        mutable[index] = data.draw(st.integers(0, 255))
    file = read(block(bytes(mutable)))
    assert bool(file.certificates) != bool(file.problems)
