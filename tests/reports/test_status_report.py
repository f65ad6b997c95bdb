"""Where every gateway stands, in a line for many and in full for one."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.conditions import Condition, Status
from reconciler.core.model import Certificate
from reconciler.core.verification import Standing
from reconciler.reports.status import as_document, as_text, details
from reconciler.reports.style import Style

NOW = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
SINCE = NOW - timedelta(days=2)
REVISION = f"main@sha1:{'ab' * 20}"
ROOT = Certificate("CN=Root", "CN=Root", "1a" * 32, SINCE, NOW + timedelta(days=100), True, True, "", "store.pem", 1)
SOONER = replace(ROOT, subject="CN=Sooner", not_after=NOW + timedelta(days=10))


def condition(kind: str, status: Status, reason: str, message: str = "") -> Condition:
    return Condition(kind, status, reason, message, REVISION, SINCE)


GOOD = Standing(
    "payments",
    "https://payments.example/mcp",
    enabled=True,
    owner="team-a",
    revision=REVISION,
    conditions=(condition("Ready", "True", "Ready"), condition("Synced", "True", "Applied", "as written")),
    certificates=(ROOT, SOONER),
    tools=7,
    verified_at=SINCE,
)
BAD = Standing(
    "a",
    "http://a.example/mcp",
    enabled=True,
    owner="",
    revision="",
    conditions=(condition("Ready", "False", "NotMcp", "Healthy: a web page\nwith more"),),
    certificates=(),
)
OFF = replace(BAD, name="off", enabled=False, conditions=(condition("Ready", "Unknown", "NeverVerified"),))


def test_a_store_without_gateways_says_so() -> None:
    assert as_text([], "", NOW) == "The store holds no gateway."


def test_there_is_a_line_for_each_and_below_it_what_is_wrong() -> None:
    assert as_text([GOOD, BAD, OFF], "Last apply: by me.", NOW).splitlines() == [
        "GATEWAY   READY    TOOLS  BUNDLE EXPIRES          REVISION",
        "payments  True         7  2026-10-30 (in 10 days) main@ababababab",
        "a         False        -  -                       -",
        "          NotMcp: Healthy: a web page",
        "off       disabled     -  -                       -",
        "",
        "1 of 2 enabled gateways ready. Last apply: by me.",
    ]


def test_everything_about_one() -> None:
    assert details(GOOD, NOW).splitlines() == [
        "payments",
        "  url       https://payments.example/mcp",
        "  owner     team-a",
        "  revision  main@ababababab",
        "  conditions",
        "    Ready      True    Ready, since 2026-10-18 12:00 UTC",
        "    Synced     True    Applied, since 2026-10-18 12:00 UTC: as written",
        "  certificates",
        f"    CN=Root (Root CA), expires 2027-01-28 (in 100 days), sha256 {'1a' * 8}…",
        f"    CN=Sooner (Root CA), expires 2026-10-30 (in 10 days), sha256 {'1a' * 8}…",
    ]


def test_what_is_not_known_of_one_is_said() -> None:
    lines = details(BAD, NOW).splitlines()
    assert lines[2:4] == ["  owner     (nobody)", "  revision  -"]
    assert lines[-2:] == [
        "    Ready      False   NotMcp, since 2026-10-18 12:00 UTC: Healthy: a web page",
        "  certificates: none, public CAs are trusted",
    ]


def test_the_published_document() -> None:
    document = json.loads(json.dumps(as_document([GOOD, OFF])))
    assert list(document) == ["format_version", "gateways"]
    good, off = document["gateways"]
    certificates = good.pop("certificates")
    assert [list(each) for each in certificates] == [
        ["subject", "issuer", "sha256", "not_before", "not_after", "root", "ca", "file", "line"]
    ] * 2
    assert good == {
        "name": "payments",
        "url": "https://payments.example/mcp",
        "owner": "team-a",
        "revision": REVISION,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Ready",
                "message": "",
                "observed_revision": REVISION,
                "since": "2026-10-18T12:00:00+00:00",
            },
            {
                "type": "Synced",
                "status": "True",
                "reason": "Applied",
                "message": "as written",
                "observed_revision": REVISION,
                "since": "2026-10-18T12:00:00+00:00",
            },
        ],
        "tools": 7,
        "verified_at": "2026-10-18T12:00:00+00:00",
    }
    assert (off["tools"], off["verified_at"], off["certificates"], off["owner"]) == (None, None, [], "")


hostile = st.text(st.sampled_from("a @:\t\n\r\x1b[2J\x07\x9b\x7f\u202e\u2066\u200b\u2028名"), min_size=1, max_size=12)


@given(hostile, hostile)
def test_no_row_and_no_message_moves_a_cursor(text: str, message: str) -> None:
    conditions = (condition("Ready", "False", "Drifted", message), condition("Synced", "False", "Drifted", message))
    standing = replace(BAD, name=text, url=text, owner=text, revision=text, conditions=conditions)
    for shown in (as_text([standing, GOOD], "", NOW), details(standing, NOW)):
        for line in shown.split("\n"):
            assert line.isprintable(), line
    assert len(details(standing, NOW).split("\n")) == 8


def test_colour_adds_nothing_but_colour() -> None:
    style = Style(colour=True)
    table, full = as_text([GOOD, BAD, OFF], "", NOW, style), details(GOOD, NOW, style)
    assert re.sub(r"\x1b\[[0-9;]+m", "", table) == as_text([GOOD, BAD, OFF], "", NOW) != table
    assert re.sub(r"\x1b\[[0-9;]+m", "", full) == details(GOOD, NOW) != full
