"""Where signing keys are found, how a new one is written, and that none of them ever shows."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from reconciler.core.signing import generate, sign_bundle, verify_bundle
from reconciler.errors import InputError, SignerError
from reconciler.signers import find_signer
from reconciler.signers.keyfile import key_in_file, write_new_key

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND, THIRD = generate(), generate(), generate()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "signing.key"
    write_new_key(path, FIRST.private)
    return path


def test_a_written_key_is_read_and_signs(key_file: Path) -> None:
    signer = key_in_file(key_file)
    assert signer.public_key == FIRST.public
    verify_bundle("text", sign_bundle(signer, "text"), FIRST.public)


def test_a_new_key_is_readable_by_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_new_key(tmp_path / "signing.key", FIRST.private)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "signing.key").stat().st_mode) == 0o600


def test_a_key_is_never_overwritten_and_nothing_is_left_behind(key_file: Path) -> None:
    with pytest.raises(InputError, match="exists already") as raised:
        write_new_key(key_file, SECOND.private)
    assert raised.value.fix
    assert key_file.read_bytes() == FIRST.private
    assert list(key_file.parent.iterdir()) == [key_file]


def test_a_link_to_nowhere_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "signing.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="exists already"):
        write_new_key(tmp_path / "signing.key", FIRST.private)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", ["missing/signing.key", "signing\0.key", "x" * 300])
def test_a_key_that_cannot_be_written_is_an_error_with_a_fix(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be written") as raised:
        write_new_key(tmp_path / name, FIRST.private)
    assert raised.value.fix
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o777, 0o610])
def test_a_key_that_others_can_reach_is_refused_with_the_command_that_helps(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    with pytest.raises(SignerError, match=f"mode {mode:04o}") as raised:
        key_in_file(key_file)
    assert f"chmod 600 {key_file}" in raised.value.fix


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_key_for_its_owner_alone_is_used(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    assert key_in_file(key_file).public_key == FIRST.public


def test_a_link_to_a_key_is_followed_as_mounted_secrets_need(key_file: Path) -> None:
    link = key_file.with_name("link")
    link.symlink_to(key_file)
    assert key_in_file(link).public_key == FIRST.public


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "directory").mkdir(0o700)
    for name in ("pipe", "directory"):
        with pytest.raises(SignerError, match="is not a regular file"):
            key_in_file(tmp_path / name)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    path.touch(mode=0o600)
    os.truncate(path, 1 << 40)
    with pytest.raises(SignerError, match="far too large for a key"):
        key_in_file(path)


def test_a_file_with_something_else_is_named(key_file: Path) -> None:
    key_file.write_bytes(b"c2VjcmV0")
    with pytest.raises(SignerError, match=r"signing\.key: the signing key is a bare base64") as raised:
        key_in_file(key_file)
    assert "c2VjcmV0" not in f"{raised.value} {raised.value.fix}"


def test_a_path_with_control_characters_is_shown_escaped(tmp_path: Path) -> None:
    with pytest.raises(SignerError) as raised:
        key_in_file(tmp_path / "a\x1b[31m\n.key")
    assert f"{raised.value}{raised.value.fix}".isprintable()


def test_without_anything_there_is_no_signer() -> None:
    assert find_signer(None, {}) is None
    assert find_signer(None, {"RECONCILER_SIGNING_KEY": "", "ED25519_PRIVATE_KEY": ""}) is None


def test_an_explicit_reference_goes_first_then_the_variables_in_their_order(key_file: Path) -> None:
    environ = {
        "RECONCILER_SIGNING_KEY_FILE": str(key_file),
        "RECONCILER_SIGNING_KEY": SECOND.private.decode(),
        "ED25519_PRIVATE_KEY": THIRD.private.decode(),
    }
    assert _public("env:ED25519_PRIVATE_KEY", environ) == THIRD.public
    assert _public(f"file:{key_file}", {}) == FIRST.public
    assert _public(None, environ) == FIRST.public
    del environ["RECONCILER_SIGNING_KEY_FILE"]
    assert _public(None, environ) == SECOND.public
    del environ["RECONCILER_SIGNING_KEY"]
    assert _public(None, environ) == THIRD.public


def test_a_key_that_is_not_there_may_be_excused(tmp_path: Path) -> None:
    for reference in (f"file:{tmp_path}/none", "env:NONE"):
        assert find_signer(reference, {"NONE": ""}, missing_ok=True) is None
        with pytest.raises(SignerError) as raised:
            find_signer(reference, {"NONE": ""})
        assert raised.value.fix


def test_a_key_that_is_there_and_broken_is_never_excused(key_file: Path) -> None:
    key_file.chmod(0o644)
    for reference in (f"file:{key_file}", "env:BROKEN"):
        with pytest.raises(SignerError):
            find_signer(reference, {"BROKEN": "not a key"}, missing_ok=True)


def test_a_broken_variable_is_named() -> None:
    with pytest.raises(SignerError, match="environment variable ED25519_PRIVATE_KEY"):
        find_signer(None, {"ED25519_PRIVATE_KEY": FIRST.private.decode().replace("\n", "\\n")})


@pytest.mark.parametrize("reference", ["pkcs11:token/signing", "signing.key", "file:", ":x", "a\x1b:x"])
def test_a_reference_to_no_known_place_is_refused(reference: str) -> None:
    with pytest.raises(SignerError) as raised:
        find_signer(reference, {})
    assert "`file:`" in raised.value.fix
    assert str(raised.value).isprintable()


def test_a_key_put_where_a_reference_belongs_is_not_repeated() -> None:
    text = FIRST.private.decode()
    for reference in (text, f"Key: {text}", text.splitlines()[1]):
        with pytest.raises(SignerError) as raised:
            find_signer(reference, {})
        assert text.splitlines()[1] not in f"{raised.value} {raised.value.fix}"


def test_no_signer_shows_its_key(key_file: Path) -> None:
    body = FIRST.private.decode().splitlines()[1]
    for reference in (f"file:{key_file}", "env:KEY"):
        signer = find_signer(reference, {"KEY": FIRST.private.decode()})
        assert body not in f"{signer!r} {signer}"


def _public(reference: str | None, environ: dict[str, str]) -> bytes:
    signer = find_signer(reference, environ)
    assert signer is not None
    return signer.public_key


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with places of its own: one that works, and one that lacks its library."""
    (tmp_path / "their_package-1.0.dist-info").mkdir()
    (tmp_path / "their_package-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: their-package\n")
    (tmp_path / "their_package-1.0.dist-info/entry_points.txt").write_text(
        "[reconciler.signers]\npkcs11 = their_package:open_token\nbroken = their_package.missing:open\n"
    )
    (tmp_path / "their_package.py").write_text(
        "from reconciler.signers.environment import key_in_variable\n"
        "def open_token(place, environ):\n"
        "    return key_in_variable('X', environ['X']) if place == 'slot/1' else None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("package")
def test_another_package_adds_a_place_by_its_scheme() -> None:
    environ = {"X": FIRST.private.decode(), "RECONCILER_SIGNING_KEY_FROM": "pkcs11:slot/1"}
    signer = find_signer(None, environ)
    assert signer is not None
    assert signer.public_key == FIRST.public
    with pytest.raises(SignerError, match="there is no signing key at pkcs11:slot/2"):
        find_signer("pkcs11:slot/2", environ)
    with pytest.raises(SignerError, match="signs with `broken:` cannot be loaded"):
        find_signer("broken:x", environ)
