"""The file of trusted keys: what the schema cannot tell is told, all of it at once, and no secret with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.core.keyring import read_keyring
from reconciler.core.problems import Location, ProblemsError
from reconciler.core.signing import Keyring, Role, TrustedKey, generate, public_text
from reconciler.settings import keyring_file, load_settings

if TYPE_CHECKING:
    from pathlib import Path

ONE, OTHER = generate(), generate()
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def entry(name: str = "one", key: str = public_text(ONE.public), **more: Any) -> dict[str, Any]:
    return {"name": name, "publicKey": key, **more}


def read(*entries: dict[str, Any]) -> tuple[tuple[TrustedKey, ...], list[tuple[str, str]]]:
    keys, problems = read_keyring({"keys": list(entries)}, lambda pointer: Location("t.yaml", pointer=pointer))
    assert all(problem.fix for problem in problems)
    return keys, [(problem.code, problem.location.pointer) for problem in problems]


def test_a_key_is_trusted_with_everything_for_ever_unless_it_says_otherwise() -> None:
    limited = entry(
        "two", public_text(OTHER.public), roles=["bundle"], notBefore="2026-01-01", notAfter="2027-01-01T06:00:00Z"
    )
    keys, problems = read(entry(), limited)
    assert problems == []
    assert keys == (
        TrustedKey("one", ONE.public),
        TrustedKey(
            "two",
            OTHER.public,
            frozenset({Role.BUNDLE}),
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2027, 1, 1, 6, tzinfo=UTC),
        ),
    )


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([entry(key="abc=")], [("trusted-key-unusable", "/spec/keys/0/publicKey")]),
        ([entry(key=public_text(bytes(32)))], [("trusted-key-unusable", "/spec/keys/0/publicKey")]),
        ([entry(), entry("two")], [("trusted-key-twice", "/spec/keys/1/publicKey")]),
        ([entry(), entry(key=public_text(OTHER.public))], [("trusted-key-twice", "/spec/keys/1/name")]),
        ([entry(notAfter="2026-02-31")], [("trusted-key-window", "/spec/keys/0/notAfter")]),
        (
            [entry(notBefore="2026-01-01T25:00:00Z", notAfter="2026-13-01")],
            [("trusted-key-window", "/spec/keys/0/notBefore"), ("trusted-key-window", "/spec/keys/0/notAfter")],
        ),
        ([entry(notBefore="2027-01-01", notAfter="2027-01-01")], [("trusted-key-window", "/spec/keys/0/notAfter")]),
        (
            [entry(key="x", notAfter="2026-02-31"), entry("two"), entry("two", public_text(OTHER.public))],
            [
                ("trusted-key-window", "/spec/keys/0/notAfter"),
                ("trusted-key-unusable", "/spec/keys/0/publicKey"),
                ("trusted-key-twice", "/spec/keys/2/name"),
            ],
        ),
    ],
)
def test_everything_that_is_wrong_is_told_at_once(entries: list[dict[str, Any]], found: list[tuple[str, str]]) -> None:
    assert read(*entries)[1] == found


def test_a_private_key_is_not_repeated() -> None:
    text = ONE.private.decode()
    _, problems = read_keyring({"keys": [entry(key=text)]}, lambda pointer: Location("t", 1, 1, pointer, text))
    (problem,) = problems
    assert "is a private key" in problem.message
    assert "disclosed" in problem.fix
    assert problem.location.snippet == ""
    assert text.splitlines()[1] not in f"{problem.message}{problem.fix}"


@pytest.mark.parametrize(
    ("before", "after", "in_force"),
    [(None, None, True), (0, None, True), (1, None, False), (None, 0, False), (None, 1, True), (-1, 1, True)],
)
def test_a_window_begins_with_its_first_moment_and_ends_before_its_last(
    before: int | None, after: int | None, in_force: bool
) -> None:
    begins, ends = (None if hours is None else NOW + timedelta(hours=hours) for hours in (before, after))
    key = TrustedKey("one", ONE.public, not_before=begins, not_after=ends)
    assert key.is_in_force(NOW) is in_force
    assert Keyring.of_keys([key]).at(NOW).key_ids == ({key.id} if in_force else set())


def write(directory: Path, keys: str, signing: str = "") -> None:
    (directory / "keys").mkdir()
    heading = "apiVersion: reconciler/v1\nmetadata: {name: x}\n"
    (directory / "reconciler.yaml").write_text(f"{heading}kind: Config\nspec: {{path: .{signing}}}\n")
    (directory / "keys/trusted.yaml").write_text(f"{heading}kind: Keyring\nspec:\n  keys:\n{keys}")


def test_the_keys_of_a_repository_are_found_in_their_one_place(tmp_path: Path) -> None:
    write(tmp_path, f"  - {{name: one, publicKey: {public_text(ONE.public)}, notAfter: 2027-01-01}}\n")
    (key,) = load_settings((tmp_path,)).trusted_keys
    assert (key.name, key.public, key.not_after) == ("one", ONE.public, datetime(2027, 1, 1, tzinfo=UTC))
    assert keyring_file(tmp_path / "keys/trusted.yaml") == (key,)


def test_a_problem_of_the_file_stands_in_its_line(tmp_path: Path) -> None:
    write(tmp_path, f"  - {{name: one, publicKey: {public_text(ONE.public)}}}\n  - name: two\n    publicKey: abc=\n")
    with pytest.raises(ProblemsError) as refused:
        load_settings((tmp_path,))
    (problem,) = refused.value.problems
    assert (problem.location.file, problem.location.line, problem.code) == (
        "keys/trusted.yaml",
        8,
        "trusted-key-unusable",
    )


def test_a_keyring_in_the_managed_tree_is_no_gateway(tmp_path: Path) -> None:
    from reconciler.clock import now
    from reconciler.composition import read_tree

    write(tmp_path, f"  - {{name: one, publicKey: {public_text(ONE.public)}}}\n")
    desired = read_tree(load_settings((tmp_path,)), now(), with_revision=False)
    assert (desired.gateways, desired.complete) == ({}, True)


def test_a_place_that_signs_may_be_named_in_the_config(tmp_path: Path) -> None:
    write(
        tmp_path,
        f"  - {{name: one, publicKey: {public_text(ONE.public)}}}\n",
        ", signing: {keyFrom: {signer: 'vault:a/b'}}",
    )
    assert load_settings((tmp_path,)).signing_key == "vault:a/b"
