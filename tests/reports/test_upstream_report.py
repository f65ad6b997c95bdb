"""What verification saw: a line for each upstream, the diagnosis below it, and the sum."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.observation import McpObservation, Observation, PresentedCertificate, TlsObservation, Tool
from reconciler.core.routes import Proxy, Route
from reconciler.core.verification import Verified
from reconciler.reports.style import Style
from reconciler.reports.upstreams import as_document, as_text, summary

NOW = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
URL = "https://a.example/mcp"
EXPIRY = "expires 2027-01-18 (in 90 days)"
LEAF = PresentedCertificate(
    "CN=a.example", "CN=Root", "1a" * 32, NOW, NOW + timedelta(days=90), ("a.example", "10.0.0.1"), self_signed=False
)
TLS = TlsObservation(
    True, reason="Trusted", message="a.example:443 is trusted by the bundle.", chain=(LEAF,), trust="bundle",
    version="TLSv1.3",
)  # fmt: skip
MCP = McpObservation(
    True,
    protocol_version="2025-11-25",
    server="demo 1.0",
    tools=(Tool("charge", "c1"), Tool("refund", "d2")),
    resources=3,
    prompts=1,
)
GOOD = Verified("a", URL, Observation("a", URL, TLS, MCP, 0.0424), "", "valid", "k1", "r1")
REFUSED = TlsObservation(False, "20", "CaUnknown", "no way to an anchor\nsecond line", "add the root\nthen apply")
BAD = Verified("b", URL, Observation("b", URL, REFUSED, None, 1.5), "", "valid", "k1")
EXCUSED = Verified("c", URL, None, "not looked at: it is disabled")


def test_an_upstream_that_answers_is_a_line_of_facts() -> None:
    assert as_text([GOOD], NOW).splitlines() == [
        f"✓ a  TLSv1.3, trusted by its bundle, certificate {EXPIRY}, MCP 2025-11-25, 2 tools, 42 ms",
        "Verify: 1 of 1 upstream answered over TLS and MCP as promised.",
    ]


def test_a_diagnosis_stands_below_with_its_fix() -> None:
    assert as_text([BAD], NOW).splitlines()[:-1] == [
        "✗ b  1500 ms",
        "    CaUnknown: no way to an anchor",
        "      second line",
        "    fix: add the root",
        "      then apply",
    ]


def test_an_upstream_that_was_not_looked_at_says_why_and_is_not_counted() -> None:
    lines = as_text([GOOD, BAD, EXCUSED], NOW).splitlines()
    assert lines[-2:] == [
        "· c  not looked at: it is disabled",
        "Verify: 1 of 2 upstreams answered over TLS and MCP as promised, 1 not looked at.",
    ]


def test_working_only_thanks_to_the_system_is_a_warning() -> None:
    tls = replace(TLS, trust="system", reason="SystemTrustOnly", message="only thanks to the system", fix="remove it")
    observation = Observation("a", URL, tls, MCP, 0.01)
    lines = as_text([replace(GOOD, observation=observation)], NOW).splitlines()
    assert lines[0].startswith("✓ a  TLSv1.3, trusted by the system's CAs")
    assert lines[1:3] == ["    warning: only thanks to the system", "    fix: remove it"]


def test_tampering_is_said_whether_the_upstream_answers_or_not() -> None:
    for found in (replace(GOOD, bundle="invalid"), replace(EXCUSED, bundle="invalid")):
        lines = as_text([found], NOW).splitlines()
        assert lines[0].startswith("✗")
        assert lines[1] == "    tampering: the signature of the stored CA bundle is invalid"


def test_a_failure_in_mcp_is_shown_besides_a_good_handshake() -> None:
    mcp = McpObservation(False, "ToolsMissing", "there is no refund", "deploy it")
    lines = as_text([replace(BAD, observation=Observation("b", URL, TLS, mcp, 0.1))], NOW).splitlines()
    assert lines[1:3] == ["    ToolsMissing: there is no refund", "    fix: deploy it"]


def test_what_the_server_presented_stands_below_its_refusal() -> None:
    leaf = replace(LEAF, subject="CN=a\nb", self_signed=True)
    refused = replace(BAD, observation=Observation("b", URL, replace(REFUSED, chain=(LEAF, leaf)), None, 1.5))
    assert as_text([refused], NOW).splitlines()[5:7] == [
        f"    presented 1: CN=a.example, for a.example, 10.0.0.1, issued by CN=Root, {EXPIRY}, SHA-256 {'1a' * 32}",
        f"    presented 2: CN=a\\nb, for a.example, 10.0.0.1, self-signed, {EXPIRY}, SHA-256 {'1a' * 32}",
    ]


def test_the_way_to_an_upstream_is_shown_without_credentials() -> None:
    proxy = Proxy("proxy.example", 3128, "HTTPS_PROXY", "Basic c2VjcmV0")
    for route, words, via in (
        (
            Route(proxy),
            "through the proxy proxy.example:3128 (HTTPS_PROXY)",
            {"proxy": "proxy.example:3128", "address": ""},
        ),
        (Route(address="10.0.0.7"), "at 10.0.0.7 (--resolve)", {"proxy": "", "address": "10.0.0.7"}),
    ):
        found = replace(GOOD, observation=Observation("a", URL, TLS, MCP, 0.01, route))
        assert as_text([found], NOW).splitlines()[0].endswith(f"10 ms, {words}")
        assert as_document([found])["gateways"][0]["via"] == via
        assert "c2VjcmV0" not in repr(found)


def test_a_failure_without_a_word_is_still_shown() -> None:
    silent = Observation("b", URL, None, McpObservation(False, "Odd"), 0.1)
    assert "    Odd:" in as_text([replace(BAD, observation=silent)], NOW)


def test_of_nothing_nothing_is_claimed() -> None:
    assert summary([]) == "Verify: 0 of 0 upstreams answered over TLS and MCP as promised."


def test_the_published_document() -> None:
    document = json.loads(json.dumps(as_document([GOOD, BAD, EXCUSED])))
    assert list(document) == ["format_version", "gateways"]
    good, bad, excused = document["gateways"]
    assert good == {
        "name": "a",
        "url": URL,
        "ready": True,
        "why": "",
        "tls": {
            "ok": True,
            "code": "",
            "reason": "Trusted",
            "message": "a.example:443 is trusted by the bundle.",
            "fix": "",
            "chain": [
                {
                    "subject": "CN=a.example",
                    "issuer": "CN=Root",
                    "sha256": "1a" * 32,
                    "not_before": "2026-10-20T12:00:00+00:00",
                    "not_after": "2027-01-18T12:00:00+00:00",
                    "names": ["a.example", "10.0.0.1"],
                }
            ],
            "trust": "bundle",
        },
        "mcp": {
            "ok": True,
            "reason": "",
            "message": "",
            "fix": "",
            "protocol_version": "2025-11-25",
            "server": "demo 1.0",
            "tools": ["charge", "refund"],
            "resources": 3,
            "prompts": 1,
        },
        "via": {"proxy": "", "address": ""},
        "signature": {"bundle": "valid", "record": "unknown", "key_id": "k1"},
    }
    assert (bad["ready"], bad["tls"]["code"], bad["mcp"]) == (False, "20", None)
    assert (excused["ready"], excused["tls"], excused["mcp"], excused["why"]) == (
        True, None, None, "not looked at: it is disabled",
    )  # fmt: skip


hostile = st.text(st.sampled_from("a \t\n\r\x1b[2J\x07\x9b\x7f\u202e\u2066\u200b\u2028名"), max_size=12)


@given(hostile, hostile, st.booleans())
def test_no_row_and_no_peer_moves_a_cursor(name: str, text: str, well: bool) -> None:
    tls = TlsObservation(well, "20", "CaUnknown", text, text, version=text)
    mcp = McpObservation(well, "NotMcp", text, text, protocol_version=text)
    for observation in (Observation(name, text, tls, mcp, 0.1), Observation(name, text, None, mcp, 0.1)):
        found = Verified(name, text, observation, "", "missing")
        for line in as_text([found], NOW).split("\n"):
            assert line.isprintable(), line


def test_colour_adds_nothing_but_colour() -> None:
    results = [GOOD, BAD, EXCUSED]
    coloured = as_text(results, NOW, Style(colour=True))
    assert re.sub(r"\x1b\[[0-9;]+m", "", coloured) == as_text(results, NOW) != coloured
