"""Certificates as people know them: who, until when, which fingerprint."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.core.pem import read_pem
from reconciler.core.problems import Location, Problem, Severity
from reconciler.core.trust import build_bundle
from reconciler.demo.pki import Authority, Lifetime
from reconciler.reports.certificates import as_document, as_text, expiry, one_line
from reconciler.reports.style import Style

NOW = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
ROOT = Authority.root("Root", Lifetime(NOW - timedelta(days=1), NOW + timedelta(days=100)))
ISSUING = ROOT.issue_authority("Issuing")
FILES = {"root.pem": ROOT.pem, "issuing.pem": f"text\n{ISSUING.pem}"}
BUNDLE, PROBLEMS = build_bundle([read_pem(name, text.encode()) for name, text in FILES.items()], NOW)
NOTE = Problem("some-code", Severity.ERROR, "broken", Location("bad.pem", 4))


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (timedelta(days=100), "expires 2027-01-28 (in 100 days)"),
        (timedelta(days=1), "expires 2026-10-21 (in 1 day)"),
        (timedelta(hours=5), "expires 2026-10-20 (in 0 days)"),
        (timedelta(hours=-5), "expired 2026-10-20 (1 day ago)"),
        (timedelta(days=-40), "expired 2026-09-10 (40 days ago)"),
    ],
)
def test_a_date_comes_with_the_days_that_are_left(left: timedelta, expected: str) -> None:
    assert expiry(NOW + left, NOW) == expected


def test_one_line_says_whether_it_is_a_root() -> None:
    assert BUNDLE is not None
    root, issuing = BUNDLE.certificates
    assert one_line(root, NOW) == (
        f"CN=Root (Root CA), expires 2027-01-28 (in 100 days), sha256 {root.sha256[:16]}…"
    )  # fmt: skip
    assert one_line(issuing, NOW).startswith("CN=Issuing, expires")


def test_a_self_signed_server_is_no_root_ca() -> None:
    assert BUNDLE is not None
    server = replace(BUNDLE.certificates[0], ca=False)
    assert "Root CA" not in one_line(server, NOW)


def test_the_text_shows_each_file_and_the_bundle_in_its_order() -> None:
    assert BUNDLE is not None
    root, issuing = BUNDLE.certificates
    sizes = {name: len(text) for name, text in FILES.items()}
    assert as_text(BUNDLE, sizes, PROBLEMS, NOW).splitlines() == [
        f"✓ root.pem, {sizes['root.pem']} bytes (Root CA)",
        f"✓ issuing.pem, {sizes['issuing.pem']} bytes",
        "",
        "2 certificates, in bundle order:",
        "  1. CN=Root (Root CA)",
        "     expires 2027-01-28 (in 100 days), root.pem:1",
        f"     sha256 {root.sha256}",
        "  2. CN=Issuing",
        "     issued by CN=Root",
        "     expires 2027-01-28 (in 100 days), issuing.pem:2",
        f"     sha256 {issuing.sha256}",
        "",
        f"bundle sha256 {BUNDLE.sha256}",
    ]


def test_a_file_with_an_error_is_marked_and_there_is_no_bundle() -> None:
    assert as_text(None, {"bad.pem": 12_345}, [NOTE], NOW) == "✗ bad.pem, 12,345 bytes"


def test_the_published_document() -> None:
    assert BUNDLE is not None
    root = BUNDLE.certificates[0]
    document = as_document(BUNDLE, [NOTE])
    assert list(document) == ["format_version", "certificates", "bundle_sha256", "diagnostics"]
    assert document["certificates"][0] == {
        "subject": "CN=Root",
        "issuer": "CN=Root",
        "sha256": root.sha256,
        "not_before": "2026-10-19T12:00:00+00:00",
        "not_after": "2027-01-28T12:00:00+00:00",
        "root": True,
        "ca": True,
        "file": "root.pem",
        "line": 1,
    }
    assert [each["subject"] for each in document["certificates"]] == ["CN=Root", "CN=Issuing"]
    assert document["bundle_sha256"] == BUNDLE.sha256
    assert [each["code"] for each in document["diagnostics"]] == ["some-code"]


def test_without_a_bundle_the_document_says_so() -> None:
    document = as_document(None, [NOTE])
    assert (document["certificates"], document["bundle_sha256"]) == ([], "")


def test_no_name_of_a_file_or_an_authority_moves_a_cursor() -> None:
    odd = Authority.root("\x1b[2J\u202egpj", Lifetime.around(NOW))
    name = "\x1b]0;\u202efdp.pem"
    bundle, problems = build_bundle([read_pem(name, odd.pem.encode())], NOW)
    assert bundle is not None
    for line in as_text(bundle, {name: 1}, problems, NOW).splitlines():
        assert line.isprintable(), line


def test_colour_is_for_terminals() -> None:
    assert "\x1b[32m✓\x1b[0m" in as_text(BUNDLE, {"root.pem": 1}, [], NOW, Style(colour=True))
