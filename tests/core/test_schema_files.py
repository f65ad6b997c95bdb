"""The schemas that are shipped: where they are found, and what is said where they are not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import reconciler
from reconciler.schema_files import load_schemas, schema_texts

PACKAGE = Path(reconciler.__file__).parent


def test_every_schema_is_json_under_the_name_that_modelines_use() -> None:
    texts = schema_texts()
    assert list(texts) == [f"{kind}.v1.schema.json" for kind in ("config", "defaults", "gateway", "keyring")]
    assert len({json.loads(text)["$id"] for text in texts.values()}) == 4


def test_schemas_are_loaded_once() -> None:
    assert load_schemas() is load_schemas()
    assert set(load_schemas().texts) == {"Gateway", "Defaults", "Config", "Keyring"}


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The package as a wheel lays it out, without any schema."""
    shutil.copytree(PACKAGE, tmp_path / "reconciler", ignore=shutil.ignore_patterns("schemas", "__pycache__"))
    return tmp_path


def run(directory: Path, script: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(directory)}
    command = [sys.executable, "-c", script]
    finished = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=True)
    return finished.stdout.strip()


def test_a_wheel_carries_its_schemas_inside(installed: Path) -> None:
    shutil.copytree(PACKAGE.parent / "schemas", installed / "reconciler" / "schemas")
    script = "from reconciler import schema_files as s; print(s.__file__, len(s.schema_texts()))"
    assert run(installed, script) == f"{installed / 'reconciler' / 'schema_files.py'} 4"


def test_an_installation_without_schemas_says_so(installed: Path) -> None:
    script = (
        "from reconciler.errors import ReconcilerError\n"
        "from reconciler.schema_files import load_schemas\n"
        "try:\n load_schemas()\n"
        "except ReconcilerError as error:\n print(error, '|', error.fix)\n"
    )
    said = run(installed, script)
    assert "config.v1.schema.json" in said
    assert "install the package again" in said
