"""A URL is shown without what a manifest could not have in one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import hostile

from reconciler.core.urls import SENSITIVE_PARAMETER, shown_url

URL = json.loads((Path(__file__).parents[2] / "schemas/gateway.v1.schema.json").read_text())
FIELD = URL["properties"]["spec"]["properties"]["url"]


def test_a_secret_parameter_is_what_the_schema_calls_one() -> None:
    assert FIELD["not"]["pattern"] == SENSITIVE_PARAMETER


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("https://u:hunter2@a.example/mcp", "https://(sensitive)@a.example/mcp"),
        ("https://u:hun@ter2@a.example/mcp", "https://(sensitive)@a.example/mcp"),
        ("https://u:hun#ter2@a.example/mcp", "https://(sensitive)@a.example/mcp"),
        ("u:hunter2@a.example", "(sensitive)@a.example"),
        ("https:u:hunter2@a.example", "(sensitive)@a.example"),
        ("//u:hunter2@a.example", "//(sensitive)@a.example"),
        ("https://a.example/mcp?key=hunter2", "https://a.example/mcp?key=(sensitive)"),
        ("https://a.example/mcp?tenant=b&apiKey=hunter2&x=1", "https://a.example/mcp?tenant=b&apiKey=(sensitive)&x=1"),
        ("https://a.example/mcp?tenant=b#token=hunter2", "https://a.example/mcp?tenant=b#(sensitive)"),
        ("?sig=hunter2&sig=hunter2", "?sig=(sensitive)&sig=(sensitive)"),
    ],
)
def test_what_may_be_a_secret_is_not_shown(url: str, seen: str) -> None:
    assert shown_url(url) == seen


@given(st.from_regex(FIELD["pattern"], fullmatch=True).filter(lambda url: not re.search(SENSITIVE_PARAMETER, url)))
def test_what_a_manifest_can_have_is_shown_as_it_is(url: str) -> None:
    assert shown_url(url) == url


@given(hostile)
def test_showing_it_again_hides_no_more(text: str) -> None:
    assert shown_url(shown_url(text)) == shown_url(text)
