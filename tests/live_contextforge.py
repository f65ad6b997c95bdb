"""IBM ContextForge itself, as it is installed from PyPI, on a port of this machine for as long as tests use it.

`running_contextforge(directory)` joins the gateway that runs for this directory, or starts it: the workers of one test
run share one. It is the default configuration but for what `_SETTINGS` says.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HERE = Path(__file__).parent
_INSTALLED = _HERE.parent / ".venv/contextforge"
_EMPTY = _INSTALLED / "empty.sqlite"
_PROGRAMS = _INSTALLED / "bin"
_MISSING = (
    "These tests need IBM ContextForge itself: `make test` installs it into .venv/contextforge, with a Python from 3.11"
    " to 3.13, because it runs on no other."
)
ADMIN = "admin@example.com"
_STARTING_SECONDS = 90
_GLANCE_SECONDS = 0.1
_CALL_SECONDS = 30
_LOG_TAIL_CHARACTERS = 3000

_SETTINGS = {
    "MCPGATEWAY_UI_ENABLED": "false",
    "MCPGATEWAY_ADMIN_API_ENABLED": "true",  # the only route on which the server signs by itself
    "MCPGATEWAY_A2A_ENABLED": "false",
    "PLUGINS_ENABLED": "false",
    "CACHE_TYPE": "memory",
    "RATE_LIMITING_REDIS_ENABLED": "false",
    "RATE_LIMITING_ENABLED": "false",
    "SSRF_ALLOW_LOCALHOST": "true",
    "ENABLE_ED25519_SIGNING": "true",
    "HEALTH_CHECK_INTERVAL": "60",
    "PLATFORM_ADMIN_EMAIL": ADMIN,
    "PASSWORD_CHANGE_ENFORCEMENT_ENABLED": "false",
    "LOG_FORMAT": "text",
}


@dataclass(frozen=True, slots=True)
class ContextForge:
    """A gateway that runs. `token` may do everything; `signing_key` is the PKCS#8 PEM it signs and verifies with."""

    url: str
    log: str
    password: str = field(repr=False)
    signing_key: str = field(repr=False)
    token: str = field(default="", repr=False)

    @property
    def database(self) -> Path:
        """The file of its SQLite database."""
        return Path(self.log).with_suffix(".sqlite")

    @property
    def public_key(self) -> Ed25519PublicKey:
        """What signatures of CA bundles are verified with."""
        return self._private_key.public_key()

    def sign(self, text: str) -> str:
        """The signature that the gateway expects for this text: lower-case hexadecimal."""
        return self._private_key.sign(text.encode()).hex()

    def client(self, token: str | None = None) -> httpx.Client:
        """A client of the API with this bearer token, or else the one that may do everything."""
        headers = {"Authorization": f"Bearer {token or self.token}", "User-Agent": "contextforge-tests/1"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=_CALL_SECONDS, trust_env=False)

    def empty(self) -> None:
        """Delete every gateway, whoever made it, and every tool: of a row that went by SQL, those stay behind."""
        with self.client() as client:
            for kind in ("gateways", "tools"):
                for row in client.get(f"/v1/{kind}?limit=0&include_inactive=true").raise_for_status().json():
                    client.delete(f"/v1/{kind}/{row['id']}")

    def token_for(self, *permissions: str, team: str = "") -> str:
        """A new token that may do only this: `token_for("gateways.read")`; with the id of a `team`, a token of that."""
        # Only somebody who logged in may make tokens: a token may not, whatever else it may do.
        order = {"name": secrets.token_hex(8), "expires_in_days": 1, "scope": {"permissions": permissions}}
        order |= {"team_id": team} if team else {}
        with self.client(self._log_in()) as client:
            answer = client.post("/v1/tokens", json=order)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        return str(answer.json()["access_token"])

    def _log_in(self) -> str:
        answer = httpx.post(
            f"{self.url}/v1/auth/login", json={"email": ADMIN, "password": self.password}, trust_env=False
        )
        assert answer.status_code == httpx.codes.OK, answer.text
        return str(answer.json()["access_token"])

    @property
    def _private_key(self) -> Ed25519PrivateKey:
        key = load_pem_private_key(self.signing_key.encode(), None)
        assert isinstance(key, Ed25519PrivateKey)
        return key


@contextmanager
def running_contextforge(directory: Path, **settings: str) -> Iterator[ContextForge]:
    """Join the gateway of this directory, or start one with these settings (environment variables, over `_SETTINGS`).

    It ends with the last who uses it, and with their processes, however those end.
    """
    directory.mkdir(exist_ok=True)
    ready = directory / "ready.json"
    with ExitStack() as supervisors, (directory / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        with alone(directory):
            if not ready.exists():
                running = _start(directory, settings, supervisors)
                _write(ready, json.dumps(asdict(running)))
        yield ContextForge(**json.loads(ready.read_text()))


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Keep everybody else from the gateway of this directory, as far as they ask in this way too.

    On SQLite the platform can bear no second writer: switching a gateway on or off keeps the database locked while it
    connects to the upstream, and whoever writes meanwhile is told "Unexpected error" after five seconds.
    """
    with (directory / "alone").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start(directory: Path, settings: Mapping[str, str], supervisors: ExitStack) -> ContextForge:
    if not (_PROGRAMS / "mcpgateway").exists():
        raise RuntimeError(_MISSING)
    log = directory / f"gateway-{secrets.token_hex(4)}.log"
    database = log.with_suffix(".sqlite")
    environment = {**_environment(directory, database), **settings}
    if "DATABASE_URL" not in settings:
        _lay_out(database)
    with reserved_port() as port:
        supervisor = supervisors.enter_context(_supervised(directory, port, environment, log))
        url = f"http://127.0.0.1:{port}"
        _wait_until_healthy(url, supervisor, log)
    password, key = environment["PLATFORM_ADMIN_PASSWORD"], environment["ED25519_PRIVATE_KEY"]
    running = ContextForge(url, str(log), password, key)
    return replace(running, token=running.token_for("*"))


def _environment(directory: Path, database: Path) -> dict[str, str]:
    """The whole environment of a gateway: nothing of the developer's but the search path."""
    password = secrets.token_urlsafe(24) + "aA1!"
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "TMPDIR": str(directory),  # else its locks are one for a machine, and only one gateway does what they guard
        "DATABASE_URL": f"sqlite:///{database}",
        "JWT_SECRET_KEY": secrets.token_urlsafe(48),
        "AUTH_ENCRYPTION_SECRET": secrets.token_urlsafe(48),
        "BASIC_AUTH_PASSWORD": password,
        "PLATFORM_ADMIN_PASSWORD": password,
        "DEFAULT_USER_PASSWORD": password,
        "ED25519_PRIVATE_KEY": key,
        **_SETTINGS,
    }


def _lay_out(database: Path) -> None:
    """Give a gateway its tables, which cost it half of its start otherwise. They are made once for an installation."""
    with alone(_INSTALLED), TemporaryDirectory(dir=_INSTALLED) as name:
        if not _EMPTY.exists():
            draft = Path(name) / _EMPTY.name
            _migrate(draft)
            draft.rename(_EMPTY)
    shutil.copyfile(_EMPTY, database)


def _migrate(database: Path) -> None:
    (config,) = _INSTALLED.glob("lib/python*/site-packages/mcpgateway/alembic.ini")
    made = subprocess.run(
        [str(_PROGRAMS / "alembic"), "-c", str(config), "upgrade", "head"],
        cwd=database.parent,
        env=_environment(database.parent, database),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_STARTING_SECONDS,
        check=False,
    )
    if made.returncode:
        raise RuntimeError(f"ContextForge could not lay out its database:\n{made.stderr[-_LOG_TAIL_CHARACTERS:]}")


def _supervised(directory: Path, port: int, environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    command = [str(_PROGRAMS / "mcpgateway"), "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, str(_HERE / "until_unused.py"), str(directory), *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C ends the tests, and they end it
        )


def _write(path: Path, text: str) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.rename(path)


@contextmanager
def reserved_port() -> Iterator[int]:
    """A free port, kept for whoever reuses addresses."""
    # Bound and not listening: the kernel gives it to nobody else, and the gateway, which reuses addresses, may have it.
    with socket.socket() as reservation:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind(("127.0.0.1", 0))
        yield reservation.getsockname()[1]


def _wait_until_healthy(url: str, supervisor: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _STARTING_SECONDS
    with httpx.Client(base_url=url, verify=False, trust_env=False) as client:  # noqa: S501 - it is loopback, without TLS
        while not _healthy(client):
            if supervisor.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:]
                raise RuntimeError(f"ContextForge did not start. The end of {log}:\n{tail}")
            time.sleep(_GLANCE_SECONDS)


def _healthy(client: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return bool(client.get("/health").json()["status"] == "healthy")
    return False
