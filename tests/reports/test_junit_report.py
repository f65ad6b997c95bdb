"""JUnit XML that parses whatever a file says, with one test for every file that was looked at."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import date

from hypothesis import given
from strategies import validations

from reconciler.core.hostile import printable
from reconciler.core.levels import Suppressed, Suppression
from reconciler.core.problems import Location, Problem, Severity
from reconciler.reports.junit import as_junit
from reconciler.reports.validation import Validation

WRONG = Problem("wrong-value", Severity.ERROR, "`<x>` does not fit", Location("a.yaml", 3, 9), "write https://")
MISSING = Problem("missing-field", Severity.ERROR, "`url` is missing", Location("a.yaml", 5, 3))
SOON = Problem("certificate-expires-soon", Severity.WARNING, "CN=Root expires", Location("ca.pem", 12))
NOTE = Problem("bundle-duplicate", Severity.INFO, "given twice", Location("ca.pem", 40))
EXCUSE = Suppression("plain-http", "crm", "replaced in spring", date(2027, 3, 31), Location("reconciler.yaml"))
PLAIN = Problem("plain-http", Severity.WARNING, "`crm` is reached without TLS", Location("crm.yaml", 6))


def parsed(validation: Validation) -> ET.Element:
    return ET.fromstring(as_junit(validation).encode())  # noqa: S314 - parses only what we wrote


def test_a_whole_report() -> None:
    found = Validation([WRONG, SOON, NOTE], files=("a.yaml", "b.yaml", "ca.pem", "crm.yaml"))
    assert as_junit(found) == (
        """\
<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="reconciler validate" tests="4" failures="1" errors="0" skipped="0">
  <testsuite name="reconciler validate" tests="4" failures="1" errors="0" skipped="0">
    <testcase classname="reconciler.validate" name="a.yaml" file="a.yaml" line="3">
      <failure type="wrong-value" message="`&lt;x&gt;` does not fit">
a.yaml:3:9: error: `&lt;x&gt;` does not fit [wrong-value]
fix: write https://
      </failure>
    </testcase>
    <testcase classname="reconciler.validate" name="b.yaml" file="b.yaml">
    </testcase>
    <testcase classname="reconciler.validate" name="ca.pem" file="ca.pem">
      <system-out>
ca.pem:12:1: warning: CN=Root expires [certificate-expires-soon]
ca.pem:40:1: info: given twice [bundle-duplicate]
      </system-out>
    </testcase>
    <testcase classname="reconciler.validate" name="crm.yaml" file="crm.yaml">
    </testcase>
  </testsuite>
</testsuites>"""
    )


def test_all_errors_of_a_file_are_one_failure_as_both_platforms_read_only_one() -> None:
    (failure,) = parsed(Validation([WRONG, MISSING])).iter("failure")
    assert failure.attrib == {"type": "wrong-value", "message": "2 errors, the first: `<x>` does not fit"}
    assert (failure.text or "").split("\n")[1:4] == [
        "a.yaml:3:9: error: `<x>` does not fit [wrong-value]",
        "fix: write https://",
        "a.yaml:5:3: error: `url` is missing [missing-field]",
    ]


def test_what_is_suppressed_is_said_and_fails_nothing() -> None:
    suite = parsed(Validation([], suppressed=[Suppressed(PLAIN, (EXCUSE,))]))
    (output,) = suite.iter("system-out")
    assert (output.text or "").strip() == (
        "crm.yaml:6:1: suppressed until 2027-03-31 (replaced in spring): `crm` is reached without TLS [plain-http]"
    )
    assert list(suite.iter("failure")) == []


@given(validations)
def test_every_file_is_a_test_and_those_with_errors_fail(validation: Validation) -> None:
    suite = parsed(validation)
    errors = {problem.location.file for problem in validation.problems if problem.severity is Severity.ERROR}
    others = {problem.location.file for problem in validation.problems}
    others |= {each.problem.location.file for each in validation.suppressed}
    cases = list(suite.iter("testcase"))
    assert len(cases) == int(suite.attrib["tests"]) == len({*validation.files, *others})
    failed = [case.attrib["file"] for case in cases if case.find("failure") is not None]
    assert failed == [printable(file, 1024) for file in sorted(errors)]
    assert len(failed) == int(suite.attrib["failures"])


@given(validations)
def test_every_message_is_there(validation: Validation) -> None:
    text = "\n".join(parsed(validation).itertext())
    for problem in (*validation.problems, *(each.problem for each in validation.suppressed)):
        assert f": {printable(problem.message, 4096)} [{printable(problem.code)}]" in text
    assert text.replace("\n", "").isprintable()
