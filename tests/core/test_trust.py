"""Trust bundles: the same set gives the same bytes, what is accepted loads, and each defect is named."""

from __future__ import annotations

import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from itertools import pairwise, permutations
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.core.pem import PemFile, read_pem
from reconciler.core.problems import Problem, Severity
from reconciler.core.trust import MAX_CERTIFICATES, MAX_NAMESAKES, build_bundle
from reconciler.demo.pki import Authority, Lifetime, pem, self_signed

if TYPE_CHECKING:
    from reconciler.core.model import TrustBundle

NOW = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
LIFETIME = Lifetime.around(NOW)
ROOT = Authority.root("Root", LIFETIME)
ALPHA = ROOT.issue_authority("Alpha")
BETA = ROOT.issue_authority("Beta")
BELOW = ALPHA.issue_authority("A Below")
OTHER = Authority.root("Other Root", LIFETIME)
ORPHAN = Authority.root("Absent Root", LIFETIME).issue_authority("Orphan")
LEAF = ROOT.issue_server(["mcp.example.com"])
SERVER = self_signed(["mcp.internal"], LIFETIME)
FOREST = [each.pem for each in (ROOT, ALPHA, BETA, BELOW, OTHER, ORPHAN)]


def build(*texts: str, now: datetime = NOW, days: int = 30) -> tuple[TrustBundle | None, tuple[Problem, ...]]:
    files = [read_pem(f"{number}.pem", text.encode()) for number, text in enumerate(texts)]
    return build_bundle(files, now, expiry_warning_days=days)


def bundle(*texts: str) -> TrustBundle:
    built, problems = build(*texts)
    assert built is not None, problems
    return built


def found(*texts: str, now: datetime = NOW) -> dict[str, str]:
    """Return the codes of what is wrong with a bundle, and how bad each is."""
    _, problems = build(*texts, now=now)
    return {problem.code: problem.severity.value for problem in problems}


def loaded(text: str) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=text)
    return context.cert_store_stats()["x509"]


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
KEY = ec.generate_private_key(ec.SECP256R1())
USAGES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")


def usage(*, sign: bool) -> x509.KeyUsage:
    others = dict.fromkeys(USAGES, False)
    return x509.KeyUsage(**others, key_cert_sign=sign, crl_sign=True, encipher_only=False, decipher_only=False)


def constraints(*, ca: bool = True, path: int | None = None) -> x509.BasicConstraints:
    return x509.BasicConstraints(ca, path)


def extensions(key: Key) -> dict[str, tuple[x509.ExtensionType, bool]]:
    return {
        "basic": (constraints(), True),
        "usage": (usage(sign=True), True),
        "id": (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    }


def made(
    subject: str = "Made",
    *,
    key: Key = KEY,
    issuer: tuple[str, Key] | None = None,
    serial: int = 5,
    lifetime: Lifetime = LIFETIME,
    without: tuple[str, ...] = (),
    **changed: tuple[x509.ExtensionType, bool],
) -> str:
    """Return a CA certificate, perfect but for what is changed or left out."""
    issued_by, signer = issuer or (subject, key)
    builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issued_by))
    builder = builder.public_key(key.public_key()).serial_number(serial)
    builder = builder.not_valid_before(lifetime.not_before).not_valid_after(lifetime.not_after)
    for label, (extension, critical) in (extensions(key) | changed).items():
        if label not in without:
            builder = builder.add_extension(extension, critical=critical)
    return pem(builder.sign(signer, hashes.SHA256()))


def test_a_bundle_is_its_certificates_re_encoded() -> None:
    built = bundle(f"a comment\r\n{ROOT.pem}\n")
    assert built.pem == ROOT.pem
    assert [certificate.subject for certificate in built.certificates] == ["CN=Root"]


def test_roots_come_first_and_then_level_by_level_each_after_its_issuer() -> None:
    subjects = [certificate.subject for certificate in bundle(*reversed(FOREST)).certificates]
    assert subjects == ["CN=Other Root", "CN=Root", "CN=Alpha", "CN=Beta", "CN=A Below", "CN=Orphan"]


def test_of_equals_the_one_that_expires_later_comes_first() -> None:
    later = Lifetime(LIFETIME.not_before, LIFETIME.not_after + timedelta(days=1))
    old, new = Authority.root("Same", LIFETIME), Authority.root("Same", later)
    assert bundle(old.pem, new.pem).pem == f"{new.pem}\n{old.pem}"


@given(st.permutations(FOREST * 2), st.lists(st.integers(0, 12), max_size=4))
def test_the_bytes_depend_only_on_the_set(order: list[str], cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(order)]
    parts = ["\n".join(order[start:end]) for start, end in pairwise(edges) if start < end]
    built = bundle(*parts)
    assert built.pem == bundle("\n".join(FOREST)).pem
    assert built.pem == built.pem.strip()


def test_cas_that_issued_each_other_have_one_order() -> None:
    keys = {label: ec.generate_private_key(ec.SECP256R1()) for label in "AB"}
    ring = [made(one, key=keys[one], issuer=(two, keys[two])) for one, two in (("A", "B"), ("B", "A"))]
    texts = {bundle(*order).pem for order in permutations([*ring, ROOT.pem])}
    assert texts == {"\n".join([ROOT.pem, *ring])}
    assert found(*ring) == {"bundle-missing-root": "warning"}


@given(st.sets(st.sampled_from([*FOREST, SERVER.leaf_pem]), min_size=1))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_what_is_accepted_loads_with_exactly_the_number_reported(texts: set[str]) -> None:
    built = bundle(*texts)
    assert loaded(built.pem) == len(built.certificates) == len(texts)
    assert len(x509.load_pem_x509_certificates(built.pem.encode())) == len(texts)


def test_a_certificate_given_twice_is_stored_once() -> None:
    assert bundle(ROOT.pem, f"{ALPHA.pem}\n{ROOT.pem}").pem == f"{ROOT.pem}\n{ALPHA.pem}"
    _, problems = build(ROOT.pem, f"{ALPHA.pem}\n{ROOT.pem}")
    (problem,) = problems
    assert (problem.code, problem.location.file, problem.location.line) == (
        "bundle-duplicate",
        "1.pem",
        ALPHA.pem.count("\n") + 2,
    )


def test_a_perfect_bundle_has_no_problems() -> None:
    assert found(ROOT.pem, ALPHA.pem, BETA.pem, BELOW.pem) == {}


def test_openssl_accepts_a_server_below_the_bundle(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(bundle(BELOW.pem, ALPHA.pem, ROOT.pem).pem)
    (tmp_path / "leaf.pem").write_text(BELOW.issue_server(["mcp.example.com"]).leaf_pem)
    command = [
        "openssl",
        "verify",
        "-x509_strict",
        "-attime",
        str(int(NOW.timestamp())),
        "-CAfile",
        "ca.pem",
        "leaf.pem",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("leaf.pem: OK\n", 0)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (LIFETIME.not_before - timedelta(seconds=1), {"certificate-not-yet-valid": "error"}),
        (LIFETIME.not_before, {}),
        (LIFETIME.not_after - timedelta(days=30, seconds=1), {}),
        (LIFETIME.not_after - timedelta(days=30), {"certificate-expires-soon": "warning"}),
        (LIFETIME.not_after, {"certificate-expires-soon": "warning"}),
        (LIFETIME.not_after + timedelta(seconds=1), {"certificate-expired": "error"}),
    ],
)
def test_time_is_judged_to_the_second(moment: datetime, expected: dict[str, str]) -> None:
    assert found(ROOT.pem, now=moment) == expected


def test_the_days_of_warning_can_be_chosen() -> None:
    assert build(ROOT.pem, days=400)[1] != ()
    assert build(ROOT.pem, days=0)[1] == ()


def test_an_expiry_is_told_with_its_date() -> None:
    _, problems = build(ROOT.pem, now=LIFETIME.not_after + timedelta(days=3))
    assert problems[0].message == "CN=Root expired on 2027-10-20 12:00 UTC, 3 days ago"


def test_an_expired_root_is_refused_beside_its_successor() -> None:
    assert found(ROOT.pem, Authority.root("Root", Lifetime.expired(NOW)).pem) == {
        "certificate-expired": "error",
        "bundle-same-subject": "warning",
    }


def test_a_leaf_is_no_ca() -> None:
    built, (problem,) = build(ROOT.pem, LEAF.leaf_pem)
    assert built is None
    assert (problem.code, problem.location.file) == ("certificate-not-a-ca", "1.pem")
    assert "CN=Root" in problem.fix


@pytest.mark.parametrize("ca", [True, False])
def test_a_self_signed_server_certificate_is_its_own_anchor(ca: bool) -> None:
    text = self_signed(["mcp.internal"], LIFETIME, ca=ca).leaf_pem
    assert found(text) == {"server-certificate-pinned": "info"}
    assert loaded(bundle(text).pem) == 1


def test_a_self_signed_certificate_without_any_extension_is_its_own_anchor() -> None:
    assert found(made(without=("basic", "usage", "id"))) == {"server-certificate-pinned": "info"}


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
ANY = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])

DEFECTS = {
    "none": (made(), {}),
    "any purpose": (made(purpose=(ANY, False)), {"ca-wrong-purpose": "error"}),
    "no keyCertSign": (made(usage=(usage(sign=False), True)), {"ca-cannot-sign": "error"}),
    "for clients only": (made(purpose=(CLIENT, False)), {"ca-wrong-purpose": "error"}),
    "unknown critical extension": (
        made(unknown=(UNKNOWN, True)),
        {"certificate-unknown-critical-extension": "error"},
    ),
    "unknown extension": (made(unknown=(UNKNOWN, False)), {}),
    "RSA 1024": (made(key=rsa.generate_private_key(65537, 1024)), {"certificate-weak-key": "error"}),  # noqa: S505
    "P-192": (made(key=ec.generate_private_key(ec.SECP192R1())), {"certificate-weak-key": "error"}),
    "RSA 2048": (made(key=rsa.generate_private_key(65537, 2048)), {}),
    "P-384": (made(key=ec.generate_private_key(ec.SECP384R1())), {}),
    "secp256k1": (made(key=ec.generate_private_key(ec.SECP256K1())), {"certificate-unusual-key": "warning"}),
    "no basicConstraints": (made(without=("basic",)), {"ca-no-basic-constraints": "warning"}),
    "basicConstraints not critical": (
        made(basic=(constraints(), False)),
        {"ca-basic-constraints-not-critical": "warning"},
    ),
    "no keyUsage": (made(without=("usage",)), {"ca-no-key-usage": "warning"}),
    "no key identifier": (made(without=("id",)), {"ca-no-key-identifier": "warning"}),
    "odd serial": (made(serial=2**159 - 1), {}),
    "empty subject": (made(""), {"ca-empty-subject": "error"}),
    "deceiving name": (made("Root \u202egpj"), {"certificate-odd-name": "warning"}),
    "corrupt self-signature": (made(issuer=("Made", ROOT.key)), {"bundle-bad-self-signature": "error"}),
}


@pytest.mark.parametrize(("text", "expected"), DEFECTS.values(), ids=DEFECTS)
def test_each_defect_of_a_ca_is_named(text: str, expected: dict[str, str]) -> None:
    assert found(text) == expected


def old_hash(algorithm: str, directory: Path) -> tuple[str, str]:
    """Return a root and an intermediate below it, both signed with an old hash, as OpenSSL makes them."""

    def run(command: str) -> None:
        subprocess.run(["openssl", *command.split()], cwd=directory, check=True, capture_output=True)

    (directory / "ca.cnf").write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n")
    run(f"req -x509 -newkey rsa:2048 -nodes -days 9999 -subj /CN=Old -keyout a.key -out a.pem -{algorithm}")
    run("req -newkey rsa:2048 -nodes -subj /CN=Below -keyout b.key -out b.csr")
    run(
        f"x509 -req -in b.csr -CA a.pem -CAkey a.key -CAcreateserial -extfile ca.cnf -days 9999 -out b.pem -{algorithm}"
    )
    return (directory / "a.pem").read_text(), (directory / "b.pem").read_text()


@pytest.mark.parametrize("algorithm", ["sha1", "md5"])
def test_an_old_hash_matters_below_a_root_and_not_on_it(algorithm: str, tmp_path: Path) -> None:
    root, intermediate = old_hash(algorithm, tmp_path)
    late = datetime(2030, 1, 1, tzinfo=UTC)  # OpenSSL's command makes certificates that begin today
    assert found(root, now=late)["root-weak-self-signature"] == "info"
    assert "error" not in found(root, now=late).values()
    assert found(root, intermediate, now=late)["certificate-weak-hash"] == "error"


def test_a_signature_that_cannot_be_checked_makes_no_issuer(tmp_path: Path) -> None:
    _, problems = build(*old_hash("md5", tmp_path), now=datetime(2030, 1, 1, tzinfo=UTC))
    (problem,) = [problem for problem in problems if problem.code == "bundle-missing-root"]
    assert "could not be checked" in problem.message


def test_an_intermediate_without_its_root_is_told_which_is_missing() -> None:
    _, (problem,) = build(ORPHAN.pem)
    assert (problem.code, problem.severity) == ("bundle-missing-root", Severity.WARNING)
    assert "CN=Absent Root" in problem.fix
    assert "Python up to 3.12 refuses it as an anchor (2), Python 3.13 and Go (Kuadrant) accept it" in problem.message


def test_only_the_topmost_of_an_orphaned_branch_is_reported() -> None:
    _, problems = build(ORPHAN.pem, ORPHAN.issue_authority("Deeper").pem)
    assert [problem.location.file for problem in problems] == ["0.pem"]


def test_an_issuer_by_name_alone_is_none() -> None:
    _, (problem,) = build(ALPHA.pem, Authority.root("Root", LIFETIME).pem)
    assert problem.code == "bundle-missing-root"
    assert "has another key" in problem.message


def test_an_issuer_needs_the_right_signature_and_the_right_identifier() -> None:
    wrong = x509.AuthorityKeyIdentifier(b"another key", None, None)
    right = x509.AuthorityKeyIdentifier.from_issuer_public_key(ROOT.key.public_key())
    child = ec.generate_private_key(ec.SECP256R1())
    assert found(ROOT.pem, made("Child", key=child, issuer=("Root", ROOT.key), authority=(right, False))) == {}
    misnamed = made("Child", key=child, issuer=("Root", ROOT.key), authority=(wrong, False))
    assert found(ROOT.pem, misnamed) == {"bundle-missing-root": "warning"}
    forged = made("Child", key=child, issuer=("Root", KEY), authority=(right, False))
    assert found(ROOT.pem, forged) == {"bundle-bad-signature": "error"}


def test_an_issuer_by_key_whose_serial_number_is_another_is_none() -> None:
    other = x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(name("Root"))], 99)
    _, (problem,) = build(ROOT.pem, made("Child", issuer=("Root", ROOT.key), authority=(other, False)))
    assert problem.code == "bundle-missing-root"
    assert "not the identifier or serial number" in problem.message


def test_an_intermediate_without_basic_constraints_is_no_ca() -> None:
    _, (problem,) = build(ROOT.pem, made("Child", issuer=("Root", ROOT.key), without=("basic",)))
    assert problem.code == "certificate-not-a-ca"
    assert "without basicConstraints" in problem.message


def test_an_altered_intermediate_is_refused() -> None:
    data = bytearray(ALPHA.certificate.public_bytes(Encoding.DER))
    data[data.index(b"Alpha")] = ord("B")
    assert found(ROOT.pem, ssl.DER_cert_to_PEM_cert(bytes(data))) == {"bundle-bad-signature": "error"}


TWICE = ec.generate_private_key(ec.SECP256R1())
OWN, CROSS = made("New", key=TWICE), made("New", key=TWICE, issuer=("Root", ROOT.key))


def fingerprint(text: str) -> str:
    return x509.load_pem_x509_certificate(text.encode()).fingerprint(hashes.SHA256()).hex()[:16]


def test_a_cross_signed_root_is_an_intermediate_below_the_other_root() -> None:
    assert found(ROOT.pem, CROSS) == {}
    assert found(CROSS) == {"bundle-missing-root": "warning"}


@pytest.mark.parametrize("signer", [(ROOT.pem,), ()], ids=["with the other root", "without it"])
def test_a_cross_signed_root_beside_its_own_is_a_note_which_of_them_is_needless(signer: tuple[str, ...]) -> None:
    _, (problem,) = build(OWN, CROSS, *signer)
    assert (problem.code, problem.severity, problem.location.file) == ("bundle-cross-signed", Severity.INFO, "1.pem")
    assert all(text in problem.message for text in ("CN=New", "CN=Root", fingerprint(OWN), fingerprint(CROSS)))
    assert problem.fix.startswith(f"{fingerprint(CROSS)}… can be removed")


def test_of_a_cross_signed_root_whose_own_has_expired_the_own_is_needless() -> None:
    later = Lifetime(LIFETIME.not_before, LIFETIME.not_after + timedelta(days=9))
    cross = made("New", key=TWICE, issuer=("Root", ROOT.key), lifetime=later)
    _, problems = build(OWN, cross, now=LIFETIME.not_after + timedelta(days=1))
    (problem,) = [each for each in problems if each.code == "bundle-cross-signed"]
    assert problem.fix.startswith(f"{fingerprint(OWN)}… can be removed")


def test_a_self_signed_root_comes_before_its_cross_signed_twin() -> None:
    below = made("Below", issuer=("New", TWICE))
    for order in permutations((OWN, CROSS, below)):
        assert bundle(*order).pem == f"{OWN}\n{below}\n{CROSS}"
    assert bundle(CROSS, OWN, ROOT.pem).pem == f"{OWN}\n{ROOT.pem}\n{CROSS}"


def test_a_path_length_on_the_other_way_to_a_cross_signed_root_does_not_matter() -> None:
    top = ec.generate_private_key(ec.SECP256R1())
    short = made("Top", key=top, basic=(constraints(path=0), True))
    cross, below = made("New", key=TWICE, issuer=("Top", top)), made("Below", issuer=("New", TWICE))
    assert found(short, OWN, cross, below) == {"bundle-cross-signed": "info"}
    assert found(short, cross, below) == {"bundle-path-too-long": "error"}


def test_a_rollover_certificate_is_signed_by_the_old_key_of_the_same_name() -> None:
    rollover = made("Root", issuer=("Root", ROOT.key))
    assert found(ROOT.pem, rollover) == {"bundle-same-subject": "warning"}
    assert found(rollover) == {"bundle-bad-self-signature": "error"}


def test_two_cas_of_one_name_are_a_warning_and_one_renewed_is_not() -> None:
    assert found(ROOT.pem, Authority.root("Root", LIFETIME).pem) == {"bundle-same-subject": "warning"}
    assert found(made(serial=5), made(serial=6)) == {}


def test_a_path_length_that_the_bundle_exceeds_is_refused() -> None:
    top, middle, low = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    below = made("Middle", key=middle, issuer=("Top", top)), made("Low", key=low, issuer=("Middle", middle))

    def root(path: int | None) -> str:
        return made("Top", key=top, basic=(constraints(path=path), True))

    assert found(root(None), *below) == found(root(2), *below) == {}
    _, problems = build(root(1), *below)
    assert [(problem.code, problem.location.file) for problem in problems] == [("bundle-path-too-long", "2.pem")]
    _, problems = build(root(0), *below)
    assert [problem.location.file for problem in problems] == ["1.pem", "2.pem"]


def test_a_self_issued_certificate_does_not_count_for_the_path_length() -> None:
    top, renewed, low = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    root = made("Top", key=top, basic=(constraints(path=1), True))
    rollover = made("Top", key=renewed, issuer=("Top", top))
    assert found(root, rollover, made("Low", key=low, issuer=("Top", renewed))) == {"bundle-same-subject": "warning"}


def test_no_certificate_is_no_bundle() -> None:
    assert build_bundle([], NOW)[0] is None
    assert [problem.code for problem in build_bundle([], NOW)[1]] == ["bundle-empty"]
    assert [problem.code for problem in build_bundle([PemFile("a.pem", (), ())], NOW)[1]] == ["bundle-empty"]


def test_a_file_with_an_error_makes_no_bundle_and_its_problems_are_not_repeated() -> None:
    assert build(ROOT.pem, "-----END CERTIFICATE-----") == (None, ())
    assert build("-----END CERTIFICATE-----") == (None, ())


def test_every_problem_of_every_file_is_collected() -> None:
    expired = Authority.root("Gone", Lifetime.expired(NOW)).pem
    _, problems = build(LEAF.leaf_pem, expired, ORPHAN.pem, "-----END CERTIFICATE-----")
    assert [(problem.location.file, problem.code) for problem in problems] == [
        ("0.pem", "certificate-not-a-ca"),
        ("1.pem", "certificate-expired"),
        ("2.pem", "bundle-missing-root"),
    ]


def test_too_many_certificates_are_refused() -> None:
    texts = [made(f"CA {number}") for number in range(MAX_CERTIFICATES + 1)]
    assert found("\n".join(texts[:300]), "\n".join(texts[300:])) == {"bundle-too-large": "error"}
    assert found("\n".join(texts[:-1])) == {}


def test_too_many_certificates_of_one_name_are_refused() -> None:
    texts = [made(serial=number + 1) for number in range(MAX_NAMESAKES + 1)]
    assert found("\n".join(texts)) == {"bundle-too-large": "error"}
    assert found("\n".join(texts[:-1])) == {}


def test_the_public_trust_store_is_refused_for_nothing_but_expiry() -> None:
    data = Path(certifi.where()).read_bytes()
    file = read_pem("certifi.pem", data)
    built, problems = build_bundle([file], NOW)
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    assert {problem.code for problem in errors} <= {"certificate-expired"}
    assert len(file.certificates) == data.count(b"BEGIN CERTIFICATE")
    if built is not None:
        assert loaded(built.pem) == len(built.certificates) == len(file.certificates)


@given(st.binary(min_size=1, max_size=3), st.integers(0, 2_000))
def test_a_damaged_certificate_never_makes_a_bundle_that_fails_to_load(noise: bytes, place: int) -> None:
    data = bytearray(ALPHA.certificate.public_bytes(Encoding.DER))
    place %= len(data) - len(noise)
    data[place : place + len(noise)] = noise
    text = ssl.DER_cert_to_PEM_cert(bytes(data))
    built, problems = build(ROOT.pem, text)
    assert built is not None or problems or read_pem("a.pem", text.encode()).problems
    if built is not None:
        assert loaded(built.pem) == len(built.certificates)
