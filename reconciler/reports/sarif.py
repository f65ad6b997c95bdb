"""Problems as SARIF 2.1.0 (OASIS), within what GitHub's code scanning takes: 5,000 results and 10 MB, compressed."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from reconciler.core.hostile import printable
from reconciler.core.problems import Severity
from reconciler.reports.fingerprints import fingerprints
from reconciler.reports.markup import as_markdown
from reconciler.reports.problems import sentences
from reconciler.reports.style import TEXT_LIMIT, counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconciler.core.levels import Suppressed, Suppression
    from reconciler.core.problems import Location, Problem, Rule
    from reconciler.reports.validation import Validation

_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_ROOT: Final = "%SRCROOT%"
_FINGERPRINT: Final = "reconcilerProblem/v1"

_RESULTS: Final = 5000
_CHARACTERS: Final = 9_500_000
"""ASCII never grows in gzip by more than a few bytes, so this much is under 10 MB whatever it says."""

_LEVELS: Final[Mapping[Severity, str]] = {
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.INFO: "note",
}
_GITHUB_SEVERITIES: Final[Mapping[Severity, str]] = {
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.INFO: "recommendation",
}


def as_sarif(validation: Validation, *, version: str, rules: Mapping[str, Rule]) -> dict[str, Any]:
    """Return a SARIF log of one run, the worst results first, and after them the suppressed ones.

    `rules` are the known rules by code; the run describes those that it has results of. Where there are more results
    than GitHub takes, a notification says how many were left out.
    """
    every = [*validation.worst_first(), *(each.problem for each in validation.suppressed)]
    codes = sorted({problem.code for problem in every})
    results = list(_fitting(_results(validation, codes, fingerprints(every))))
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "reconciler",
                        "version": version,
                        "semanticVersion": version,
                        "rules": [_descriptor(code, rules.get(code)) for code in codes],
                    }
                },
                "invocations": [_invocation(len(every) - len(results))],
                "originalUriBaseIds": {_ROOT: {"description": {"text": "The top of the repository."}}},
                "columnKind": "unicodeCodePoints",
                "results": results,
            }
        ],
    }


def _results(validation: Validation, codes: Sequence[str], names: Mapping[Problem, str]) -> Iterator[dict[str, Any]]:
    index = {code: number for number, code in enumerate(codes)}
    for problem in validation.worst_first():
        yield _result(problem, index[problem.code], names[problem])
    for each in validation.suppressed:
        result = _result(each.problem, index[each.problem.code], names[each.problem])
        yield result | {"suppressions": _suppressions(each)}


def _fitting(results: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    room = _CHARACTERS
    for result in islice(results, _RESULTS):
        room -= len(json.dumps(result))
        if room < 0:
            return
        yield result


def _result(problem: Problem, index: int, fingerprint: str) -> dict[str, Any]:
    lines = sentences(problem)
    return {
        "ruleId": problem.code,
        "ruleIndex": index,
        "level": _LEVELS[problem.severity],
        "message": {
            # `[text](target)` is a link even in a plain message (SARIF 3.11.6), and not every reader knows the escape.
            "text": "\n".join(lines).replace("](", "] ("),
            "markdown": "\n\n".join(map(as_markdown, lines)),
        },
        "locations": [{"physicalLocation": _physical(problem.location)}],
        "partialFingerprints": {_FINGERPRINT: fingerprint},
    }


def _physical(location: Location) -> dict[str, Any]:
    end = location.column + location.length
    region: dict[str, Any] = {"startLine": location.line, "startColumn": location.column, "endColumn": end}
    if marked := location.snippet[location.column - 1 : end - 1]:
        region["snippet"] = {"text": printable(marked, TEXT_LIMIT)}
    return {"artifactLocation": {"uri": _uri(location.file), "uriBaseId": _ROOT}, "region": region}


def _uri(file: str) -> str:
    """Return a relative path as a URI, byte for byte as the file system has it; a colon makes no scheme."""
    return quote(file.encode("utf-8", "surrogateescape"))


def _suppressions(suppressed: Suppressed) -> list[dict[str, Any]]:
    return [
        {"kind": "external", "status": "accepted", "justification": justification}
        for justification in dict.fromkeys(map(_justification, suppressed.suppressions))
    ]


def _justification(suppression: Suppression) -> str:
    return f"{printable(suppression.reason, TEXT_LIMIT)} (until {suppression.until.isoformat()})"


def _descriptor(code: str, rule: Rule | None) -> dict[str, Any]:
    if rule is None:
        return {"id": code}
    return {
        "id": code,
        "shortDescription": {"text": code.replace("-", " ").capitalize()},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.why, "markdown": as_markdown(rule.why)},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"problem.severity": _GITHUB_SEVERITIES[rule.severity], "tags": ["mcp", "gateway"]},
    }


def _invocation(left_out: int) -> dict[str, Any]:
    if not left_out:
        return {"executionSuccessful": True}
    text = f"{counted(left_out, 'result')} left out, the least important ones: code scanning takes no more"
    return {
        "executionSuccessful": True,
        "toolExecutionNotifications": [{"level": "warning", "message": {"text": text}}],
    }
