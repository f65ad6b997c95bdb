"""The tutorial on a clean machine: the wheel that is published, in an environment of its own, far from here."""

from __future__ import annotations

import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from typed_pages import PERSON, follow

ROOT = Path(__file__).parents[1]


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """The directory of the programs of an environment with nothing but the wheel, and what it depends on."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    machine = tmp_path / "machine"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(machine)], check=True)
    python = machine / "bin/python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*install, "--disable-pip-version-check", str(wheel)], check=True)
    (library,) = machine.glob("lib/python*/site-packages")
    (library / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = [str(python), "-c", "import reconciler; print(reconciler.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert Path(found.strip()) == library / "reconciler/__init__.py"
    return machine / "bin"


def test_the_tutorial_runs_from_the_wheel_alone(programs: Path, tmp_path: Path) -> None:
    directory = tmp_path / "work"
    directory.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    page = (ROOT / "docs/tutorial.md").read_text().replace("8443", str(port))
    environ = {**PERSON, "RECONCILER_CACHE_DIR": str(tmp_path / "cache")}
    assert follow(page, directory, environ, programs) == []
