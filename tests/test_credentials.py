"""References become secrets at the last moment; what is missing is named, and no secret is ever repeated."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given
from strategies import auths

from reconciler.core.model import Auth, SecretReference
from reconciler.core.oauth import TokenRequest
from reconciler.credentials import Credentials, credentials, resolve
from reconciler.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

ENVIRON = {"TOKEN": "s3cret-token", "PASSWORD": "pä:ss", "PADDED": "  s3cret\n", "EMPTY": "", "BLANK": " \n"}
TOKEN, PASSWORD = SecretReference("env", "TOKEN"), SecretReference("env", "PASSWORD")


def carried(kind: str, settings: dict[str, str] | None = None, **secrets: SecretReference) -> Credentials:
    auth = Auth(kind, tuple((settings or {}).items()), tuple(secrets.items()))  # type: ignore[arg-type]
    return credentials(auth, ENVIRON)


def test_without_authentication_nothing_is_carried() -> None:
    assert credentials(Auth(), {}) == Credentials()


def test_a_bearer_token_is_a_header() -> None:
    assert carried("bearer", token=TOKEN).headers == (("Authorization", "Bearer s3cret-token"),)


def test_basic_authentication_is_utf_8_in_base64() -> None:
    ((name, value),) = carried("basic", {"username": "me"}, password=PASSWORD).headers
    assert (name, b64decode(value.removeprefix("Basic ")).decode()) == ("Authorization", "me:pä:ss")


def test_a_password_of_any_bytes_goes_out_as_it_came_in() -> None:
    auth = Auth("basic", (("username", "me"),), (("password", PASSWORD),))
    ((_, value),) = credentials(auth, {"PASSWORD": b"\xff\xfe".decode("utf-8", "surrogateescape")}).headers
    assert b64decode(value.removeprefix("Basic ")) == b"me:\xff\xfe"


def test_headers_are_carried_under_their_names() -> None:
    auth = Auth("headers", (), (("X-Api-Key", TOKEN), ("X-Other", SecretReference("env", "PADDED"))))
    assert credentials(auth, ENVIRON).headers == (("X-Api-Key", "s3cret-token"), ("X-Other", "s3cret"))


def test_a_query_parameter_is_carried_under_its_name() -> None:
    found = carried("queryParameter", {"name": "api_token"}, value=TOKEN)
    assert (found.headers, found.query) == ((), (("api_token", "s3cret-token"),))


def test_oauth_is_a_question_to_a_token_endpoint() -> None:
    settings = {"tokenUrl": "https://sso.example/token", "clientId": "me", "scopes": "tools.read tools.call"}
    found = carried("oauth", settings, clientSecret=TOKEN)
    assert (found.headers, found.query) == ((), ())
    assert found.token == TokenRequest("https://sso.example/token", "me", "s3cret-token", ("tools.read", "tools.call"))
    assert "s3cret" not in f"{found!r} {found.token!r}"


def test_a_secret_is_taken_without_white_space_around_it() -> None:
    assert resolve(SecretReference("env", "PADDED"), ENVIRON) == "s3cret"


@pytest.mark.parametrize("name", ["EMPTY", "BLANK", "ABSENT"])
def test_a_variable_without_a_secret_is_named(name: str) -> None:
    with pytest.raises(InputError, match=f"environment variable {name} is empty or not set") as refused:
        resolve(SecretReference("env", name), ENVIRON)
    assert refused.value.fix


def test_a_secret_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret\n")
    assert resolve(SecretReference("file", str(path)), {}) == "s3cret"


def refused_file(path: str) -> str:
    with pytest.raises(InputError) as refused:
        resolve(SecretReference("file", path), {})
    assert path.partition("\0")[0] in str(refused.value)
    return str(refused.value)


def test_a_file_that_gives_no_secret_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "latin").write_bytes(b"s\xfccret")
    assert "is empty or not set" in refused_file(str(tmp_path / "empty"))
    assert refused_file(str(tmp_path / "latin")).endswith("not UTF-8")
    assert refused_file(str(tmp_path / "absent")).endswith("No such file or directory")
    assert refused_file(str(tmp_path)).endswith("Is a directory")
    assert refused_file(f"{tmp_path}/a\0b").endswith("not a path")


def test_a_kubernetes_secret_cannot_be_read_here() -> None:
    with pytest.raises(InputError, match="Secret payments, key token, can only be read with a Kubernetes store"):
        resolve(SecretReference("secretKeyRef", "payments", "token"), ENVIRON)


Kind = Literal["bearer", "basic", "headers", "queryParameter"]


@pytest.mark.parametrize("kind", ["bearer", "basic", "headers", "queryParameter", "oauth"])
def test_a_missing_secret_is_an_error_whatever_it_is_for(kind: Kind) -> None:
    settings = (("name", "n"), ("username", "u"))
    secrets = tuple((purpose, SecretReference("env", "ABSENT")) for purpose in ("password", "token", "value"))
    with pytest.raises(InputError, match="ABSENT is empty or not set"):
        credentials(Auth(kind, settings, secrets), ENVIRON)


@pytest.mark.parametrize(
    ("auth", "lacking"),
    [
        (Auth("bearer"), "bearer authentication lacks its token"),
        (Auth("basic", (), (("password", TOKEN),)), "basic authentication lacks its username"),
        (Auth("queryParameter", (("name", "n"),)), "queryParameter authentication lacks its value"),
    ],
    ids=["bearer", "basic", "query"],
)
def test_a_row_that_somebody_mutilated_is_an_error_and_not_a_crash(auth: Auth, lacking: str) -> None:
    with pytest.raises(InputError, match=lacking):
        credentials(auth, ENVIRON)


@given(auths)
def test_whatever_a_row_says_there_are_credentials_or_an_error_of_ours(auth: Auth) -> None:
    try:
        found = credentials(auth, ENVIRON)
    except InputError:
        return
    assert isinstance(found, Credentials)


def test_no_secret_is_in_a_representation() -> None:
    for found in (
        carried("bearer", token=TOKEN),
        carried("queryParameter", {"name": "n"}, value=TOKEN),
        carried("basic", {"username": "u"}, password=PASSWORD),
    ):
        assert repr(found) == "Credentials()"


def test_no_secret_is_in_an_error() -> None:
    secrets = (("first", TOKEN), ("second", SecretReference("env", "ABSENT")))
    for auth in (Auth("headers", (), secrets), Auth("oauth", (), secrets[:1]), Auth("basic", (), secrets[:1])):
        with pytest.raises(InputError) as refused:
            credentials(auth, ENVIRON)
        assert "s3cret" not in f"{refused.value!r} {refused.value.fix} {refused.value.__cause__!r}"
        assert refused.value.__suppress_context__ or refused.value.__context__ is None
