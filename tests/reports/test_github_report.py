"""What GitHub Actions reads: commands that say what we mean and no more, and a summary that nothing gets out of."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser

import pytest
from hypothesis import given
from strategies import validations

from reconciler.core.hostile import printable
from reconciler.core.levels import Suppressed, Suppression
from reconciler.core.problems import Location, Problem, Severity
from reconciler.reports.github import as_annotations, as_step_summary
from reconciler.reports.validation import Validation

WRONG = Problem(
    "wrong-value", Severity.ERROR, "`50%` does not fit", Location("a,b.yaml", 3, 9, length=4), "write https://"
)  # fmt: skip
PLAIN = Problem("plain-http", Severity.WARNING, "no TLS", Location("crm.yaml", 6))
NOTE = Problem("bundle-duplicate", Severity.INFO, "given twice", Location("ca.pem", 40))
EXCUSE = Suppression("plain-http", "crm", "why", date(2027, 3, 31), Location("reconciler.yaml"))

COMMAND = re.compile(r"::(error|warning|notice) ([^:]*)::(.*)")


def unescaped(text: str) -> str:
    """Return what the runner makes of a property or a message."""
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, character)
    return text


def commands(validation: Validation) -> list[tuple[str, dict[str, str], str]]:
    """Return the level, the properties and the message of each annotation, as the runner reads them."""
    found = []
    for line in as_annotations(validation).split("\n")[:-1]:
        read = COMMAND.fullmatch(line)
        assert read, line
        properties = dict(pair.split("=", 1) for pair in read[2].split(","))
        found.append((read[1], {name: unescaped(value) for name, value in properties.items()}, unescaped(read[3])))
    return found


def many(number: int, severity: Severity) -> list[Problem]:
    return [replace(PLAIN, severity=severity, location=Location("a.yaml", line)) for line in range(1, number + 1)]


def test_annotations() -> None:
    assert as_annotations(Validation([PLAIN, NOTE, WRONG], gateways=2)).split("\n") == [
        "::error file=a%2Cb.yaml,line=3,col=9,endColumn=12,title=wrong-value::`50%25` does not fit%0Afix: write https://",
        "::warning file=crm.yaml,line=6,col=1,endColumn=1,title=plain-http::no TLS",
        "::notice file=ca.pem,line=40,col=1,endColumn=1,title=bundle-duplicate::given twice",
        "2 valid gateways, 1 error, 1 warning, 1 note.",
    ]


def test_where_nothing_is_wrong_the_log_says_so() -> None:
    assert as_annotations(Validation([], gateways=9)) == "9 valid gateways, no problems."


@given(validations)
def test_the_runner_reads_what_was_meant(validation: Validation) -> None:
    words = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
    for problem, (level, properties, message) in zip(validation.worst_first(), commands(validation), strict=True):
        where = problem.location
        assert level == words[problem.severity]
        assert properties == {
            "file": printable(where.file, 1024),
            "line": str(where.line),
            "col": str(where.column),
            "endColumn": str(where.column + where.length - 1),
            "title": printable(problem.code),
        }
        assert message.split("\n")[0] == printable(problem.message, 4096)


def test_ten_of_each_kind_are_annotated_and_the_rest_is_counted() -> None:
    found = Validation([*many(12, Severity.ERROR), *many(10, Severity.WARNING), *many(1_011, Severity.INFO)])
    levels = [level for level, _, _ in commands(found)]
    assert levels == ["error"] * 10 + ["warning"] * 10 + ["notice"] * 10
    assert as_annotations(found).split("\n")[-1] == (
        "0 valid gateways, 12 errors, 10 warnings, 1,011 notes. GitHub shows 10 annotations of a kind, which leaves "
        "1,003 out; the summary of the job has them."
    )


def test_of_errors_too_many_to_show_those_on_changed_lines_are_shown() -> None:
    found = many(30, Severity.ERROR)
    shown = commands(Validation(found, changed={"a.yaml": [range(25, 27), range(30, 31)]}))
    assert [properties["line"] for _, properties, _ in shown] == ["25", "26", "30", "1", "2", "3", "4", "5", "6", "7"]


def test_the_summary_has_everything_by_file() -> None:
    found = Validation(
        [PLAIN, WRONG, replace(PLAIN, location=Location("a,b.yaml", 1))],
        gateways=2,
        suppressed=[Suppressed(PLAIN, (EXCUSE,))],
        changed={"crm.yaml": [range(6, 7)]},
    )
    assert as_step_summary(found) == (
        """\
### reconciler validate: 1 error, 2 warnings

2 valid gateways, 1 error, 2 warnings, 1 suppressed.

<table>
<tr><th colspan="4" align="left">a,b.yaml</th></tr>
<tr><td>1:1</td><td>warning</td><td>no TLS</td><td><code>plain-http</code></td></tr>
<tr><td>3:9</td><td>error</td><td><code>50%</code> does not fit<br>fix: write https://</td><td><code>wrong-value</code></td></tr>
<tr><th colspan="4" align="left">crm.yaml</th></tr>
<tr><td>6:1 (changed)</td><td>warning</td><td>no TLS</td><td><code>plain-http</code></td></tr>
</table>

<details>
<summary>1 suppressed</summary>
<table>
<tr><th colspan="4" align="left">crm.yaml</th></tr>
<tr><td>6:1 (changed)</td><td>until 2027-03-31: why</td><td>no TLS</td><td><code>plain-http</code></td></tr>
</table>
</details>"""
    )


def test_a_summary_of_nothing_is_two_lines() -> None:
    shown = as_step_summary(Validation([], gateways=9))
    assert shown.split("\n") == ["### reconciler validate: no problems", "", "9 valid gateways, no problems."]


class Reader(HTMLParser):
    """Notes the elements and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[str, tuple[str, ...]]] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


OURS = {
    ("table", ()), ("tr", ()), ("th", ("colspan", "align")), ("td", ()), ("td", ("colspan",)), ("code", ()), ("br", ()),
    ("details", ()), ("summary", ()),
}  # fmt: skip


@given(validations)
def test_nothing_in_a_problem_is_markup_in_the_summary(validation: Validation) -> None:
    shown = as_step_summary(validation)
    reader = Reader()
    reader.feed(shown)
    assert reader.seen <= OURS
    assert "@" not in reader.text.replace("@\u200b", "")
    blocks = shown.split("\n\n")
    assert all(block.startswith(("<table>\n", "<details>\n")) for block in blocks[2:])
    for line in shown.split("\n"):
        assert line.isprintable()


@pytest.mark.parametrize(
    "message",
    [
        "<img src=x onerror=alert(1)>",
        "![](https://evil.example/x.png)",
        "@octocat look",
        "</td></tr></table>\n\n# Fine",
    ],
    ids=["a tag", "an image", "a mention", "an end of the table"],
)
def test_what_a_file_says_stays_words(message: str) -> None:
    reader = Reader()
    shown = as_step_summary(Validation([replace(PLAIN, message=message)]))
    reader.feed(shown)
    assert printable(message) in reader.text.replace("\u200b", "")
    assert (reader.seen <= OURS, shown.count("</table>"), shown.count("@octocat")) == (True, 1, 0)


def test_a_summary_too_large_for_github_has_the_worst_and_counts_the_rest() -> None:
    long = "<名>" * 300
    problems = [
        Problem("plain-http", severity, long, Location(f"{number % 50}.yaml", number))
        for number, severity in enumerate([Severity.WARNING] * 900 + [Severity.ERROR] * 100, start=1)
    ]
    shown = as_step_summary(Validation(problems, suppressed=[Suppressed(PLAIN, (EXCUSE,))] * 2))
    assert 880_000 < len(shown.encode()) <= 900_000
    assert shown.count("<td>error</td>") == 100
    left = re.search(r"<tr><td colspan=\"4\">(\d+) more did not fit here\.</td></tr>", shown)
    assert left
    assert shown.count("<td>warning</td>") == 900 - int(left[1]) > 0
