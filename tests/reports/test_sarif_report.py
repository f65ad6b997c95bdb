"""SARIF that the published schema accepts, that code scanning can take, and that names a problem alike every time."""

from __future__ import annotations

import gzip
import json
import random
import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from hypothesis import given
from jsonschema.validators import validator_for
from strategies import validations

from reconciler.core.levels import Suppressed, Suppression
from reconciler.core.problems import Location, Problem, Rule, Severity
from reconciler.core.rules import rules
from reconciler.reports.sarif import as_sarif
from reconciler.reports.validation import Validation

SCHEMA = json.loads((Path(__file__).parent / "data" / "sarif-2.1.0.schema.json").read_text())
PUBLISHED = validator_for(SCHEMA)(SCHEMA)
KNOWN = {
    "wrong-value": Rule("wrong-value", Severity.ERROR, "The value is not one that the field takes."),
    "plain-http": Rule("plain-http", Severity.WARNING, "Over http:// nothing is encrypted."),
}
WRONG = Problem(
    "wrong-value",
    Severity.ERROR,
    "`nonsense` does not fit",
    Location("gateways/a b.yaml", 3, 10, "/spec/url", "    url: nonsense", 8),
    "write https://",
)
PLAIN = Problem("plain-http", Severity.WARNING, "`crm` is reached without TLS", Location("gateways/crm.yaml", 7, 8))
EXCUSE = Suppression("plain-http", "crm", "replaced in spring", date(2027, 3, 31), Location("reconciler.yaml"))


def run_of(validation: Validation) -> dict[str, Any]:
    document = as_sarif(validation, version="1.2.3", rules=KNOWN)
    (run,) = document["runs"]
    return dict(run)


def results_of(*found: Problem) -> list[dict[str, Any]]:
    return list(run_of(Validation(found))["results"])


def fingerprint_of(problem: Problem) -> str:
    (result,) = results_of(problem)
    (fingerprint,) = result["partialFingerprints"].values()
    return str(fingerprint)


def test_a_whole_log() -> None:
    assert as_sarif(Validation([WRONG]), version="1.2.3", rules=KNOWN) == {
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "reconciler",
                        "version": "1.2.3",
                        "semanticVersion": "1.2.3",
                        "rules": [
                            {
                                "id": "wrong-value",
                                "shortDescription": {"text": "Wrong value"},
                                "fullDescription": {"text": "The value is not one that the field takes."},
                                "help": {
                                    "text": "The value is not one that the field takes.",
                                    "markdown": r"The value is not one that the field takes\.",
                                },
                                "defaultConfiguration": {"level": "error"},
                                "properties": {"problem.severity": "error", "tags": ["mcp", "gateway"]},
                            }
                        ],
                    }
                },
                "invocations": [{"executionSuccessful": True}],
                "originalUriBaseIds": {"%SRCROOT%": {"description": {"text": "The top of the repository."}}},
                "columnKind": "unicodeCodePoints",
                "results": [
                    {
                        "ruleId": "wrong-value",
                        "ruleIndex": 0,
                        "level": "error",
                        "message": {
                            "text": "`nonsense` does not fit\nfix: write https://",
                            "markdown": "`nonsense` does not fit\n\nfix\\: write https\\:\\/\\/",
                        },
                        "locations": [
                            {
                                "physicalLocation": {
                                    "artifactLocation": {"uri": "gateways/a%20b.yaml", "uriBaseId": "%SRCROOT%"},
                                    "region": {
                                        "startLine": 3,
                                        "startColumn": 10,
                                        "endColumn": 18,
                                        "snippet": {"text": "nonsense"},
                                    },
                                }
                            }
                        ],
                        "partialFingerprints": {"reconcilerProblem/v1": fingerprint_of(WRONG)},
                    }
                ],
            }
        ],
    }


@given(validations)
def test_the_published_schema_accepts_whatever_is_found(validation: Validation) -> None:
    PUBLISHED.validate(as_sarif(validation, version="1.2.3", rules=KNOWN))


def test_the_published_schema_accepts_every_rule_there_is() -> None:
    every = {rule.code: rule for chapter in rules().values() for rule in chapter}
    found = [rule.at(Location("a.yaml"), "message") for rule in every.values()]
    document = as_sarif(Validation(found), version="1.2.3", rules=every)
    PUBLISHED.validate(document)
    described = document["runs"][0]["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in described if rule["help"]["text"]] == sorted(every)


def test_the_schema_of_these_tests_refuses_what_is_wrong() -> None:
    document = as_sarif(Validation([WRONG]), version="1.2.3", rules=KNOWN)
    document["runs"][0]["results"][0]["level"] = "info"
    assert not PUBLISHED.is_valid(document)


@given(validations)
def test_every_result_points_at_its_rule_and_into_the_repository(validation: Validation) -> None:
    run = run_of(validation)
    found = [*validation.worst_first(), *(each.problem for each in validation.suppressed)]
    for problem, result in zip(found, run["results"], strict=True):
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == problem.code
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert uri.isascii()
        assert urlsplit(uri).scheme == ""
        assert unquote_to_bytes(uri) == problem.location.file.encode("utf-8", "surrogateescape")


@given(validations)
def test_messages_hold_no_link_and_nothing_unprintable(validation: Validation) -> None:
    for result in run_of(validation)["results"]:
        for text in result["message"].values():
            assert text.replace("\n", "").isprintable()
        assert "](" not in result["message"]["text"]
        plain = re.sub(r"`[^`]+`", "", result["message"]["markdown"].replace(r"\`", ""))
        assert not re.search(r"(?<!\\)[<\[*_@#|~:]", plain.replace(r"\\", ""))


def test_an_info_is_a_note() -> None:
    assert [each["level"] for each in results_of(WRONG, PLAIN, replace(PLAIN, severity=Severity.INFO))] == [
        "error", "warning", "note",
    ]  # fmt: skip


def test_where_the_line_may_hold_a_secret_there_is_no_snippet() -> None:
    (result,) = results_of(replace(WRONG, location=replace(WRONG.location, snippet="")))
    assert "snippet" not in result["locations"][0]["physicalLocation"]["region"]


def test_a_mark_beyond_the_snippet_is_no_snippet() -> None:
    (result,) = results_of(replace(WRONG, location=Location("a.yaml", 1, 900, snippet="x" * 400)))
    assert "snippet" not in result["locations"][0]["physicalLocation"]["region"]


def test_what_is_suppressed_says_why_and_until_when_once() -> None:
    excuses = (EXCUSE, replace(EXCUSE, gateway="erp"))
    results = run_of(Validation([WRONG], suppressed=[Suppressed(PLAIN, excuses)]))["results"]
    assert [each.get("suppressions") for each in results] == [
        None,
        [{"kind": "external", "status": "accepted", "justification": "replaced in spring (until 2027-03-31)"}],
    ]


@pytest.mark.parametrize(
    "moved",
    [
        replace(PLAIN, location=replace(PLAIN.location, line=99, column=3)),
        replace(PLAIN, severity=Severity.ERROR),
        replace(PLAIN, fix="another"),
        replace(PLAIN, gateways=("crm",)),
    ],
    ids=["on another line", "at another level", "with another fix", "about somebody"],
)
def test_a_problem_is_known_again(moved: Problem) -> None:
    assert fingerprint_of(moved) == fingerprint_of(PLAIN)


def test_a_problem_is_known_again_on_another_day() -> None:
    soon = replace(PLAIN, message="expires in 30 days, on 2027-03-31")
    assert fingerprint_of(soon) == fingerprint_of(replace(soon, message="expires in 9 days, on 2027-03-31"))


@pytest.mark.parametrize(
    "other",
    [
        replace(PLAIN, code="same-url"),
        replace(PLAIN, message="`erp` is reached without TLS"),
        replace(PLAIN, location=replace(PLAIN.location, file="b.yaml")),
        replace(PLAIN, location=replace(PLAIN.location, pointer="/spec")),
    ],
    ids=["by code", "by message", "by file", "by pointer"],
)
def test_another_problem_has_another_fingerprint(other: Problem) -> None:
    assert fingerprint_of(other) != fingerprint_of(PLAIN)


def test_problems_alike_are_told_apart_by_their_order() -> None:
    below = replace(PLAIN, location=replace(PLAIN.location, line=99))
    first, second = (each["partialFingerprints"]["reconcilerProblem/v1"] for each in results_of(PLAIN, below))
    assert first == fingerprint_of(PLAIN)
    assert first != second


def many(number: int, severity: Severity) -> list[Problem]:
    return [Problem("plain-http", severity, "m", Location("a.yaml", line)) for line in range(1, number + 1)]


def test_of_more_results_than_code_scanning_takes_the_worst_are_there_and_the_others_counted() -> None:
    found = [*many(4_000, Severity.INFO), *many(3_000, Severity.WARNING), *many(10, Severity.ERROR)]
    run = run_of(Validation(found, suppressed=[Suppressed(PLAIN, (EXCUSE,))]))
    levels = [each["level"] for each in run["results"]]
    assert levels == ["error"] * 10 + ["warning"] * 3_000 + ["note"] * 1_990
    (notification,) = run["invocations"][0]["toolExecutionNotifications"]
    assert notification["message"]["text"].startswith("2,011 results left out")


def test_results_on_changed_lines_come_before_their_like() -> None:
    below = replace(PLAIN, location=replace(PLAIN.location, line=99))
    run = run_of(Validation([PLAIN, below, WRONG], changed={PLAIN.location.file: [range(90, 100)]}))
    lines = [each["locations"][0]["physicalLocation"]["region"]["startLine"] for each in run["results"]]
    assert lines == [3, 99, 7]


def test_no_log_is_larger_than_an_upload_may_be() -> None:
    chance = random.Random(7)
    noise = ["".join(map(chr, chance.choices(range(0x21, 0x7F), k=4096))) for _ in range(500)]
    found = [Problem("plain-http", Severity.ERROR, text, Location("a.yaml"), fix=text[::-1]) for text in noise]
    document = as_sarif(Validation(found), version="1.2.3", rules=KNOWN)
    assert len(gzip.compress(json.dumps(document, indent=2).encode())) < 10_000_000
    assert "toolExecutionNotifications" in document["runs"][0]["invocations"][0]
