"""A key in HashiCorp Vault signs like any other, and says what is wrong in words for a person."""

from __future__ import annotations

import base64
import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from vault_server import BINARIES, TOKEN, FakeVault, fake_vault, real_vault

from reconciler.core.ports import BatchSigner
from reconciler.core.signing import generate, is_signed, sign_all
from reconciler.errors import SignerError
from reconciler.signers import find_signer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "vault:transit/gateways"


@pytest.fixture
def vault() -> Iterator[FakeVault]:
    with fake_vault() as running:
        yield running


def environ(vault: FakeVault, **more: str) -> dict[str, str]:
    return {"VAULT_ADDR": vault.url, "VAULT_TOKEN": TOKEN, **more}


@pytest.fixture(params=["a local server of its API", *BINARIES])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with ExitStack() as undo:
        local = request.param not in BINARIES
        yield undo.enter_context(fake_vault()).url if local else undo.enter_context(real_vault(request.param, tmp_path))


def test_a_key_in_vault_signs(address: str) -> None:
    signer = find_signer(KEY, {"VAULT_ADDR": address, "VAULT_TOKEN": TOKEN})
    assert signer is not None
    first, again = signer.sign(b"a payload"), signer.sign(b"a payload")
    assert first == again
    assert is_signed(b"a payload", first.hex(), signer.public_key)
    assert is_signed(b"", signer.sign(b"").hex(), signer.public_key)


def test_many_are_signed_in_few_calls_and_in_order(address: str) -> None:
    signer = find_signer(KEY, {"VAULT_ADDR": address, "VAULT_TOKEN": TOKEN})
    assert isinstance(signer, BatchSigner)
    payloads = [b"payload %d" % number for number in range(501)]
    made = signer.sign_all(payloads)
    assert len(made) == len(payloads)
    assert all(is_signed(each, made[at].hex(), signer.public_key) for at, each in enumerate(payloads))
    assert signer.sign_all([]) == []


def test_three_calls_sign_501_rows(vault: FakeVault) -> None:
    signer = find_signer(KEY, environ(vault))
    before = len(vault.asked)
    sign_all(signer, [b"%d" % number for number in range(501)])  # type: ignore[arg-type] # found, or the test fails
    assert vault.asked[before:] == ["POST /v1/transit/sign/gateways"] * 3


@pytest.mark.parametrize(
    "results", [None, "all of them", [], [{"error": "no"}] * 2, [None, None], [{"signature": "vault:v1:AAAA"}] * 2]
)
def test_an_answer_that_does_not_sign_everything_signs_nothing(vault: FakeVault, results: object) -> None:
    signer = find_signer(KEY, environ(vault))
    vault.answers["/v1/transit/sign/gateways"] = 200, json.dumps({"data": {"batch_results": results}}).encode()
    with pytest.raises(SignerError, match="not a signature by version 1"):
        sign_all(signer, [b"one", b"other"])  # type: ignore[arg-type] # as above


@pytest.mark.parametrize(
    "given",
    [
        {"RECONCILER_SIGNING_KEY_FROM": KEY},
        {"RECONCILER_SIGNING_KEY_FROM": "vault:gateways", "RECONCILER_SIGNING_KEY": "x"},
    ],
)
def test_the_environment_may_name_it_and_the_mount_is_transit(vault: FakeVault, given: dict[str, str]) -> None:
    signer = find_signer(None, environ(vault, **given))
    assert signer is not None
    assert signer.public_key == vault.keys["gateways"][0].public_key().public_bytes_raw()
    assert TOKEN not in repr(signer)


def test_the_token_may_stand_in_a_file_and_the_namespace_goes_along(vault: FakeVault, tmp_path: Path) -> None:
    vault.namespace = "platform"
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    given = {"VAULT_ADDR": f"{vault.url}/", "VAULT_TOKEN_FILE": str(tmp_path / "token"), "VAULT_NAMESPACE": "platform"}
    assert find_signer(KEY, given) is not None


def test_a_rotation_in_the_middle_of_a_pass_does_not_change_who_signs(vault: FakeVault) -> None:
    signer = find_signer(KEY, environ(vault))
    vault.rotate("gateways")
    assert signer is not None
    assert is_signed(b"x", signer.sign(b"x").hex(), signer.public_key)
    later = find_signer(KEY, environ(vault))
    assert later is not None
    assert later.public_key != signer.public_key


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("vault:elsewhere/gateways", "answers 404 to /v1/elsewhere/keys/gateways, and says: no handler for route"),
        ("vault:transit/nothing", "answers 404 to /v1/transit/keys/nothing, and says: nothing more"),
        ("vault:../sys/seal", "is not one"),
        ("vault:a b", "is not one"),
        ("vault:transit/", "is not one"),
    ],
)
def test_a_place_without_a_key_is_named(vault: FakeVault, place: str, said: str) -> None:
    with pytest.raises(SignerError, match=said) as refused:
        find_signer(place, environ(vault))
    assert refused.value.fix


def test_another_kind_of_key_is_refused(vault: FakeVault) -> None:
    vault.kinds["gateways"] = "aes256-gcm96"
    with pytest.raises(SignerError, match="is of type aes256-gcm96, not ed25519"):
        find_signer(KEY, environ(vault))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"VAULT_TOKEN": "hvs.another"}, "answers 403 .*permission denied"),
        ({"VAULT_TOKEN": ""}, "there is no token"),
        ({"VAULT_TOKEN": "", "VAULT_TOKEN_FILE": "/nonexistent/token"}, "VAULT_TOKEN_FILE cannot be read: No such"),
        ({"VAULT_TOKEN": "töken"}, "cannot be sent"),
        ({"VAULT_TOKEN": "a\nb"}, "cannot be"),
        ({"VAULT_ADDR": ""}, "does not say where"),
        ({"VAULT_ADDR": "vault.internal:8200"}, "does not say where"),
        ({"VAULT_ADDR": "https://[::1"}, "does not say where"),
        ({"VAULT_ADDR": "https://me:secret@vault.internal"}, "does not say where"),
        ({"VAULT_ADDR": "http://vault.internal:8200"}, "over plain HTTP"),
        ({"VAULT_ADDR": "http://127.0.0.1:9"}, "cannot be reached"),
        ({"VAULT_ADDR": "https://127.0.0.1:9", "VAULT_CACERT": "/nonexistent/ca.pem"}, "VAULT_CACERT cannot be used"),
    ],
)
def test_what_is_wrong_on_the_way_is_said_and_no_secret_with_it(
    vault: FakeVault, given: dict[str, str], said: str
) -> None:
    with pytest.raises(SignerError, match=said) as refused:
        find_signer(KEY, environ(vault, **given))
    told = f"{refused.value} {refused.value.fix}"
    assert refused.value.fix
    assert not any(secret in told for secret in (TOKEN, "hvs.another", "secret@"))


def test_a_sealed_vault_says_what_to_do(vault: FakeVault) -> None:
    vault.sealed = True
    with pytest.raises(SignerError, match="answers 503") as refused:
        find_signer(KEY, environ(vault))
    assert "unseal" in refused.value.fix


READ, SIGN = "/v1/transit/keys/gateways", "/v1/transit/sign/gateways"


def data(**fields: Any) -> tuple[int, bytes]:
    return 200, json.dumps({"data": fields}).encode()


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (READ, (200, b"not JSON")),
        (READ, (200, b"[]")),
        (READ, (200, b'{"data": "x"}')),
        (READ, (200, b"[" * 100_000)),
        (READ, (200, b"x" * 2_000_000)),
        (READ, (307, b"")),
        (READ, (500, b'{"errors": "x"}')),
        (READ, (500, b'{"errors": ["\\u001b[2J"]}')),
        (READ, data(type="ed25519", latest_version=1, keys={"1": {"public_key": ""}})),
        (READ, data(type="ed25519", latest_version=1, keys={"1": 1700000000})),
        (READ, data(type="ed25519", latest_version="x", keys={})),
        (SIGN, data()),
        (SIGN, data(signature="vault:v1:")),
        (SIGN, data(signature=f"vault:v2:{base64.b64encode(bytes(64)).decode()}")),
        (SIGN, data(signature=f"vault:v1:{base64.b64encode(bytes(64)).decode()}")),
        (SIGN, data(signature=f"vault:v1:{base64.b64encode(generate().public).decode()}")),
        (SIGN, (200, b"")),
    ],
)
def test_an_answer_that_is_none_signs_nothing(vault: FakeVault, path: str, answer: tuple[int, bytes]) -> None:
    vault.answers[path] = answer
    with pytest.raises(SignerError) as refused:
        _sign(find_signer(KEY, environ(vault)))
    assert refused.value.fix
    assert str(refused.value).isprintable()


def _sign(signer: Any) -> None:
    signer.sign(b"x")


def test_nothing_is_sent_through_a_proxy_of_the_environment(vault: FakeVault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert find_signer(KEY, environ(vault)) is not None
