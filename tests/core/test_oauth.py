"""Client credentials, sans I/O: what is asked, and what the answers of token endpoints are worth."""

from __future__ import annotations

import json
from base64 import b64decode
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.oauth import Token, TokenRequest, read_answer, refuses_header
from reconciler.core.observation import Diagnosis

REQUEST = TokenRequest("https://sso.example/token?tenant=7", "gate way", "s3cr:et", ("tools.read", "tools.call"))


def refused(status: int, answer: object) -> Diagnosis:
    found = read_answer(REQUEST, status, json.dumps(answer).encode())
    assert isinstance(found, Diagnosis)
    assert "s3cr" not in repr(found)
    assert found.fix
    return found


def test_the_grant_and_its_scopes_are_in_the_body_and_the_credentials_are_not() -> None:
    assert parse_qs(REQUEST.form().decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["tools.read tools.call"],
    }
    assert b64decode(REQUEST.authorization().removeprefix("Basic ")) == b"gate+way:s3cr%3Aet"
    assert "s3cr" not in repr(REQUEST)


def test_a_server_that_wants_them_in_the_body_gets_them_there() -> None:
    fields = parse_qs(REQUEST.form_with_credentials().decode())
    assert (fields["client_id"], fields["client_secret"]) == (["gate way"], ["s3cr:et"])


@pytest.mark.parametrize(
    ("status", "error", "other_way"),
    [(401, "invalid_client", True), (400, "invalid_client", True), (400, "invalid_request", True),
     (400, "invalid_scope", False), (500, "invalid_client", False), (200, None, False)],
)  # fmt: skip
def test_it_is_asked_the_other_way_only_where_that_may_help(status: int, error: str | None, other_way: bool) -> None:
    assert refuses_header(status, json.dumps({"error": error}).encode()) is other_way


@pytest.mark.parametrize(
    ("expires", "seconds"),
    [(3600, 3600), (0.5, 0.5), (-1, 0), (10**9, 24 * 3600), (None, 60), ("3600", 60), (True, 60)],
)
def test_a_token_holds_as_long_as_it_says_within_reason(expires: object, seconds: float) -> None:
    answer = {"access_token": "t0ken", "token_type": "Bearer", "expires_in": expires}
    found = read_answer(REQUEST, 200, json.dumps(answer).encode())
    assert found == Token("t0ken", seconds)
    assert "t0ken" not in repr(found)


@pytest.mark.parametrize("value", [None, "", 7, "a b\n", "é", ["x"]])
def test_what_no_header_can_carry_is_no_token(value: object) -> None:
    assert "holds no access token" in refused(200, {"access_token": value}).message


def test_a_token_of_another_type_is_of_no_use() -> None:
    assert "another type" in refused(200, {"access_token": "x", "token_type": "mac"}).message


def test_a_refusal_says_what_the_standard_says_and_nothing_that_might_be_a_secret() -> None:
    found = refused(401, {"error": "invalid_client", "error_description": "s3cr:et is wrong"})
    assert (found.reason, found.message) == (
        "TokenRefused",
        "https://sso.example/token gives client gate way no token: HTTP 401, invalid_client.",
    )
    assert refused(400, {"error": "s3cr:et"}).message.endswith("no token: HTTP 400.")


@given(st.integers(100, 599), st.binary(max_size=60))
def test_whatever_a_token_endpoint_answers_there_is_a_token_or_a_reason(status: int, body: bytes) -> None:
    assert isinstance(read_answer(REQUEST, status, body), Token | Diagnosis)
    assert refuses_header(status, body) in (True, False)
