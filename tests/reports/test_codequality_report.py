"""A Code Quality report that GitLab shows whole: every fingerprint once, every path as git has it."""

from __future__ import annotations

from datetime import date

from hypothesis import given
from strategies import validations

from reconciler.core.levels import Suppressed, Suppression
from reconciler.core.problems import Location, Problem, Severity
from reconciler.reports.codequality import as_code_quality
from reconciler.reports.validation import Validation

WRONG = Problem(
    "wrong-value", Severity.ERROR, "`x` does not fit", Location("gateways/a.yaml", 3, 9), "write https://"
)  # fmt: skip
SOON = Problem("certificate-expires-soon", Severity.WARNING, "CN=Root expires", Location("gateways/ca.pem", 12))
NOTE = Problem("bundle-duplicate", Severity.INFO, "given twice", Location("gateways/ca.pem", 40))


def test_an_entry() -> None:
    (entry,) = as_code_quality(Validation([WRONG]))
    assert len(entry.pop("fingerprint")) == 32
    assert entry == {
        "description": "`x` does not fit; fix: write https://",
        "check_name": "wrong-value",
        "severity": "critical",
        "location": {"path": "gateways/a.yaml", "lines": {"begin": 3}},
    }


def test_severities_are_those_of_gitlab() -> None:
    assert [each["severity"] for each in as_code_quality(Validation([WRONG, SOON, NOTE]))] == [
        "critical", "minor", "info",
    ]  # fmt: skip


def test_nothing_found_is_an_empty_report() -> None:
    assert as_code_quality(Validation([], gateways=3)) == []


def test_what_is_suppressed_is_not_shown_as_open() -> None:
    excuse = Suppression("bundle-duplicate", "a", "known", date(2027, 3, 31), Location("reconciler.yaml"))
    assert as_code_quality(Validation([], suppressed=[Suppressed(NOTE, (excuse,))])) == []


def test_alike_problems_are_two_entries() -> None:
    below = Problem(NOTE.code, NOTE.severity, NOTE.message, Location("gateways/ca.pem", 50))
    above, lower = as_code_quality(Validation([NOTE, below]))
    assert above["fingerprint"] != lower["fingerprint"]


@given(validations)
def test_every_problem_is_there_with_a_fingerprint_of_its_own(validation: Validation) -> None:
    entries = as_code_quality(validation)
    assert len({each["fingerprint"] for each in entries}) == len(entries) == len(validation.problems)
    for problem, entry in zip(validation.problems, entries, strict=True):
        assert (entry["check_name"], entry["location"]["lines"]["begin"]) == (problem.code, problem.location.line)
        assert f"{entry['description']}{entry['location']['path']}".isprintable()
        if problem.location.file.isprintable():
            assert entry["location"]["path"] == problem.location.file
