"""What tests with ContextForge stand on: it starts or says why not, knows nothing of us, and leaves nothing behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import live_contextforge
import pytest
import until_unused
from live_contextforge import running_contextforge

TESTS = Path(live_contextforge.__file__).parent
UNSTARTABLE = {"JWT_SECRET_KEY": "short"}
HOLD = """
import fcntl, subprocess, sys
users = open(f"{sys.argv[1]}/users", "w")
fcntl.flock(users, fcntl.LOCK_SH)
subprocess.Popen([sys.executable, sys.argv[2], sys.argv[1], "sh", "-c", "echo running; exec sleep 1000"])
input()
"""


def test_without_an_installation_the_tests_fail_and_say_what_installs_it(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/live_contextforge.py").write_text((TESTS / "live_contextforge.py").read_text())
    ask = "from pathlib import Path; from live_contextforge import *; running_contextforge(Path('x')).__enter__()"
    ended = subprocess.run(
        [sys.executable, "-c", ask], cwd=tmp_path / "tests", capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "RuntimeError: These tests need IBM ContextForge itself: `make test` installs it" in ended.stderr


def test_a_gateway_that_does_not_start_is_shown_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="key: too short"), running_contextforge(tmp_path, **UNSTARTABLE):
        pass
    assert not (tmp_path / "ready.json").exists()


def test_nothing_outlives_a_test_run_that_is_killed(tmp_path: Path) -> None:
    """The test run is a process that holds the lock; what it uses says that it runs, and ends with standard output."""
    command = [sys.executable, "-c", HOLD, str(tmp_path), until_unused.__file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"running\n"
        run.kill()
        assert run.stdout.read() == b""
    assert run.returncode == -signal.SIGKILL


def test_nothing_of_the_developers_environment_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would end with what is said of a port of this name, before it comes to the key."""
    (tmp_path / ".env").write_text("PORT=nowhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", "nowhere")
    with pytest.raises(RuntimeError) as ended, running_contextforge(tmp_path / "its", **UNSTARTABLE):
        pass
    assert "nowhere" not in str(ended.value)
    assert "jwt_secret_key: too short" in str(ended.value)


def test_every_trap_has_a_test() -> None:
    here = TESTS / "contextforge"
    rows = re.findall(r"^\| (\d+) \|.*\| (.*) \|$", (here / "README.md").read_text(), re.MULTILINE)
    code = "".join(path.read_text() for path in here.glob("test_platform_*.py"))
    assert [int(number) for number, _ in rows] == list(range(1, 11))
    assert [name for _, tests in rows for name in re.findall("`(.+?)`", tests) if f"def test_{name}(" not in code] == []
