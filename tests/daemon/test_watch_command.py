"""`reconciler watch` as systemd runs it: a process of its own, signals, and what it says."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from watching import PATIENCE, eventually, generate_once, manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = "apiVersion: reconciler/v1\nkind: Config\nmetadata: {{name: t}}\nspec: {{store: 'sqlite:///{store}'}}\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    directory = tmp_path / "tree"
    directory.mkdir()
    (directory / "a.yaml").write_text(manifest("a", "first"))
    (directory / "reconciler.yaml").write_text(CONFIG.format(store=tmp_path / "one.db"))
    return directory


class Process:
    """A daemon in a process of its own."""

    def __init__(self, tree: Path, *options: str, **environment: str) -> None:
        self.tree = tree
        self.out, self.errors = tree.parent / "out", tree.parent / "errors"
        generate_once(tree.parent)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("RECONCILER_", "ED25519_"))}
        environ = {**clean, "RECONCILER_SIGNING_KEY_FILE": str(tree.parent / "signing.key"), **environment}
        command = [sys.executable, "-m", "reconciler", "watch", str(tree), "--no-verify", *options]
        with self.out.open("ab") as out, self.errors.open("ab") as errors:
            self.process = subprocess.Popen(command, stdout=out, stderr=errors, env=environ, cwd=tree)

    def rows(self, store: str = "one.db") -> dict[str, str]:
        try:
            with closing(sqlite3.connect(self.tree.parent / store)) as database:
                return dict(database.execute("SELECT name, description FROM gateways"))
        except sqlite3.OperationalError:
            return {}

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    def ended(self) -> int:
        return self.process.wait(PATIENCE)


@contextmanager
def running(tree: Path, *options: str, **environment: str) -> Iterator[Process]:
    daemon = Process(tree, *options, **environment)
    try:
        yield daemon
    finally:
        daemon.process.kill()
        daemon.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_it_writes_events_to_standard_output_logs_to_standard_error_and_ends_when_told(tree: Path) -> None:
    with running(tree, "--listen", "off", "-o", "jsonl", "--log-format", "json") as daemon:
        eventually(lambda: [each for each in daemon.events() if each["reason"] == "Applied"])
        assert daemon.rows() == {"a": "first"}
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.ended() == 0
        reasons = [json.loads(line).get("reason") for line in daemon.errors.read_text().splitlines()]
        assert "Applied" in reasons


def test_it_serves_what_it_knows(tree: Path) -> None:
    port, secret = free_port(), {"RECONCILER_HTTP_TOKEN": "t"}
    with running(tree, "--listen", f"127.0.0.1:{port}", **secret) as daemon:

        def ready() -> bool:
            try:
                return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
            except httpx.HTTPError:
                return False

        eventually(ready)
        assert daemon.rows() == {"a": "first"}
        assert httpx.get(f"http://127.0.0.1:{port}/status").status_code == 401
        document = httpx.get(f"http://127.0.0.1:{port}/status", headers={"authorization": "Bearer t"}).json()
        assert document["targets"][0]["gateways"][0]["name"] == "a"
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.ended() == 0


def test_a_hangup_reads_the_settings_again(tree: Path) -> None:
    with running(tree, "--listen", "off") as daemon:
        eventually(lambda: daemon.rows() == {"a": "first"})
        (tree / "reconciler.yaml").write_text(CONFIG.format(store=tree.parent / "two.db"))
        daemon.process.send_signal(signal.SIGHUP)
        eventually(lambda: daemon.rows("two.db") == {"a": "first"})
        (tree / "a.yaml").write_text(manifest("a", "second"))
        eventually(lambda: daemon.rows("two.db") == {"a": "second"})
        assert daemon.rows() == {"a": "first"}


def test_settings_that_are_broken_are_not_taken(tree: Path) -> None:
    with running(tree, "--listen", "off") as daemon:
        eventually(lambda: daemon.rows() == {"a": "first"})
        good = (tree / "reconciler.yaml").read_text()
        (tree / "reconciler.yaml").write_text("kind: [")
        daemon.process.send_signal(signal.SIGHUP)
        eventually(lambda: "not taken" in daemon.errors.read_text())
        (tree / "reconciler.yaml").write_text(good)
        (tree / "a.yaml").write_text(manifest("a", "second"))
        eventually(lambda: daemon.rows() == {"a": "second"})


def test_systemd_is_told_how_it_is(tree: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(PATIENCE)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
        with running(tree, "--listen", "off", **environment) as daemon:
            heard = ""
            while "WATCHDOG=1" not in heard or "READY=1" not in heard:
                heard += supervisor.recv(4096).decode() + "\n"
            daemon.process.send_signal(signal.SIGHUP)
            while "RELOADING=1" not in heard:
                heard += supervisor.recv(4096).decode() + "\n"
            assert "MONOTONIC_USEC=" in heard
            daemon.process.send_signal(signal.SIGTERM)
            while "STOPPING=1" not in heard:
                heard += supervisor.recv(4096).decode() + "\n"
            assert daemon.ended() == 0


def test_a_follower_takes_over_from_a_leader_that_was_killed(tree: Path) -> None:
    with running(tree, "--listen", "off") as leader:
        eventually(lambda: leader.rows() == {"a": "first"})
        with running(tree, "--listen", "off") as follower:
            eventually(lambda: "Leads" in leader.errors.read_text())
            leader.process.kill()
            leader.process.wait()
            (tree / "a.yaml").write_text(manifest("a", "second"))
            eventually(lambda: follower.rows() == {"a": "second"})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--listen", "nowhere"), "no address"),
        (("--quiet-window", "soon"), "no duration"),
        (("-l", "team=x"), "whole targets"),
        (("--require-signed-commits",), "--pull"),
        (("--pull", "30s", "--listen", "256.0.0.1:1"), "cannot be listened on"),
    ],
)
def test_what_makes_no_sense_is_said_at_once(tree: Path, options: tuple[str, ...], said: str) -> None:
    with running(tree, *options) as daemon:
        assert daemon.ended() != 0
        assert said in daemon.errors.read_text()
