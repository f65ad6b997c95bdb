"""PEM texts of a store become files that people can tell apart, and that say what they hold."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reconciler.core.pem import read_pem
from reconciler.core.pem_export import PemFiles
from reconciler.demo.pki import Authority, Lifetime

NOW = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
LIFETIME = Lifetime.around(NOW)
ROOT = Authority.root("Payments Root CA", LIFETIME)
ISSUING = ROOT.issue_authority("Payments Issuing CA")


def fingerprints(data: bytes) -> list[str]:
    read = read_pem("a.pem", data)
    assert read.problems == ()
    return [each.sha256 for each in read.certificates]


def test_a_file_is_named_after_its_first_certificate_and_says_what_it_holds() -> None:
    text = f"{ROOT.pem}\n{ISSUING.pem}"
    files = PemFiles([text])
    assert files.name(text) == "certificates/payments-root-ca.pem"
    lines = files.data[files.name(text)].decode().splitlines()
    (first, second) = fingerprints(text.encode())
    assert lines[0] == f"# CN=Payments Root CA, expires 2027-10-20, sha256 {first}"
    assert f"# CN=Payments Issuing CA, expires 2027-10-20, sha256 {second}" in lines
    assert "\n".join(line for line in lines if not line.startswith("#")) == text


def test_texts_with_the_same_certificates_share_a_file() -> None:
    loose = f"this is ours\n\n{ROOT.pem}\r\n\n{ROOT.pem}\n"
    files = PemFiles([ROOT.pem, loose])
    assert files.name(loose) == files.name(ROOT.pem)
    assert fingerprints(files.data[files.name(loose)]) == fingerprints(ROOT.pem.encode())


def test_certificates_of_one_name_have_files_of_their_own_whatever_the_order() -> None:
    rotated = [Authority.root("Payments Root CA", LIFETIME).pem for _ in range(3)]
    files = PemFiles(rotated)
    assert len({files.name(text) for text in rotated}) == len(files.data) == 3
    again = PemFiles(reversed(rotated))
    assert again.data == files.data
    assert all(fingerprints(files.data[files.name(text)]) == fingerprints(text.encode()) for text in rotated)


@pytest.mark.parametrize(
    ("subject", "stem"),
    [
        ("../../etc/passwd", "etc-passwd"),
        (".", "certificate"),
        ("名", "certificate"),
        ("a\nb", "a-nb"),
        ("A" * 64, "a" * 60),
        ("x, CN=y + z", "x-cn-y-z"),
    ],
)
def test_no_subject_leads_anywhere(subject: str, stem: str) -> None:
    text = Authority.root(subject, LIFETIME).pem
    files = PemFiles([text])
    assert files.name(text) == f"certificates/{stem}.pem"
    assert fingerprints(files.data[files.name(text)]) == fingerprints(text.encode())


@pytest.mark.parametrize(
    "subject", ["-----BEGIN CERTIFICATE-----", "END CERTIFICATE", "PuTTY-User-Key-File-3: x", "a\r\n-----END KEY-----"]
)
def test_a_subject_that_looks_like_more_than_a_comment_is_not_written(subject: str) -> None:
    text = Authority.root(subject, LIFETIME).pem
    data = PemFiles([text]).data.popitem()[1]
    assert data.decode().splitlines()[0].startswith("# expires 2027-10-20, sha256 ")
    assert fingerprints(data) == fingerprints(text.encode())


@pytest.mark.parametrize("text", ["\n", "nothing", "unknown:b'x'", "\udcff", f"{ROOT.pem[:-40]}", "\0"])
def test_a_text_that_is_no_pem_file_is_an_obstacle_and_no_file(text: str) -> None:
    files = PemFiles([text, ROOT.pem])
    assert files.obstacle(text).startswith("its PEM text, line ")
    assert list(files.data) == ["certificates/payments-root-ca.pem"]
    assert files.obstacle(ROOT.pem) == ""
