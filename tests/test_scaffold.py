"""A first repository is complete and valid as it is made, and nothing that exists is overwritten for it."""

from __future__ import annotations

import json
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli import run
from reconciler.clock import now
from reconciler.composition import find_signing_key, keyring, read_tree
from reconciler.core.signing import generate, key_id, public_text
from reconciler.errors import InputError
from reconciler.scaffold import KEY_FILE, fitting_owner, scaffold
from reconciler.schema_files import schema_texts
from reconciler.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

PAIR = generate()


def made(directory: Path, owner: str = "team-a") -> list[str]:
    return scaffold(directory, owner, PAIR.private, public_text(PAIR.public), schema_texts())


def test_what_is_made_is_valid_and_its_key_is_the_trusted_one(tmp_path: Path) -> None:
    made(tmp_path)
    settings = load_settings((tmp_path,))
    desired = read_tree(settings, now(), with_revision=False)
    assert (list(desired.gateways), desired.problems, desired.complete) == (["example"], (), True)
    assert settings.owner == "team-a"
    signer = find_signing_key(settings, {}, required=True)
    assert signer is not None
    assert keyring(settings, signer, now()).key_ids == {key_id(PAIR.public)}


def test_the_files_made_are_the_files_named_and_the_key_is_private(tmp_path: Path) -> None:
    named = made(tmp_path)
    assert sorted(named) == sorted(
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()
    )  # fmt: skip
    assert named[-1] == KEY_FILE
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / KEY_FILE).parent.stat().st_mode) == 0o700
    assert (tmp_path / KEY_FILE).read_bytes() == PAIR.private
    holding = [name for name in named if b"PRIVATE KEY" in (tmp_path / name).read_bytes()]
    assert holding == [KEY_FILE]


def test_git_does_not_see_the_key_or_the_store(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "gateways.db").touch()
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert KEY_FILE not in listed
    assert "gateways.db" not in listed
    assert "reconciler.yaml" in listed


def test_schemas_for_the_editor_are_where_the_modelines_point(tmp_path: Path) -> None:
    made(tmp_path)
    for name in ("reconciler.yaml", "keys/trusted.yaml", "gateways/example.yaml"):
        path = tmp_path / name
        modeline = path.read_text().splitlines()[0]
        schema = json.loads((path.parent / modeline.partition("$schema=")[2]).read_text())
        assert schema["$schema"].startswith("https://json-schema.org/")


def test_the_hooks_run_commands_that_there_are(tmp_path: Path) -> None:
    made(tmp_path)
    hooks = yaml.safe_load((tmp_path / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [hook["entry"] for hook in hooks] == ["reconciler validate", "reconciler fmt"]


def test_what_is_made_is_formatted(tmp_path: Path) -> None:
    made(tmp_path)
    assert run(["fmt", "--check", str(tmp_path)]) == 0


@pytest.mark.parametrize("name", ["reconciler.yaml", ".gitignore", "gateways/example.yaml", KEY_FILE])
def test_nothing_is_overwritten_and_nothing_is_written_then(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    with pytest.raises(InputError, match="already"):
        made(tmp_path)
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [path]
    assert path.read_text() == "mine"


def test_a_directory_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        made(tmp_path / "file")


@pytest.mark.parametrize("owner", ["team a", "", "a: b", "-a", "a\nb", "x" * 64, "ü", '"'])
def test_an_owner_that_no_config_could_name_is_refused_before_anything_is_written(tmp_path: Path, owner: str) -> None:
    with pytest.raises(InputError, match="does not fit") as refused:
        made(tmp_path, owner)
    assert list(tmp_path.iterdir()) == []
    assert made(tmp_path, refused.value.fix.rpartition(" ")[2])


@pytest.mark.parametrize("owner", ["42", "1.5", "true", "null", "no", "a", "x" * 63, "Team_A.b-c"])
def test_an_owner_is_a_text_whatever_yaml_would_read_in_it(tmp_path: Path, owner: str) -> None:
    made(tmp_path, owner)
    assert load_settings((tmp_path,)).owner == owner


@given(st.text(max_size=80))
def test_every_directory_has_a_name_that_fits(name: str) -> None:
    fitting = fitting_owner(name)
    assert 0 < len(fitting) <= 63
    assert fitting.isascii()
    assert fitting_owner(fitting) == fitting


def test_a_repository_is_made_in_a_directory_of_any_name(tmp_path: Path) -> None:
    directory = tmp_path / "our gateways: (new)"
    made(directory, fitting_owner(directory.name))
    assert load_settings((directory,)).owner == "our-gateways-new"
