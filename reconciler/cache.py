"""What a tree compiled to, remembered by content, so that a pass over an unchanged tree parses nothing.

The key is a digest of every manifest's bytes, of every file they name, of the settings that matter and of our version:
never a time stamp. What is remembered holds until the first certificate date that would change what is said about it.

It can only ever prove that nothing has to be done. Whoever finds a difference compiles the tree anew before acting, so
a forged cache cannot make anything be written. It is a file of the user's own, and ignored when it is not.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.model import (
    Auth,
    CaReference,
    ContextForgeOptions,
    DesiredGateway,
    DesiredState,
    Gateway,
    KuadrantOptions,
    SecretReference,
    Suspension,
    ToolsLock,
    Transport,
    VerifyPolicy,
    Visibility,
)
from reconciler.core.observation import Tool
from reconciler.core.problems import Location, Problem, Severity
from reconciler.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from reconciler.core.snapshot import Files

_SIZE_LIMIT: Final = 512 * 1024 * 1024

_NO_AUTH: Final = Auth()
_NO_CONTEXTFORGE: Final = ContextForgeOptions()
_NO_KUADRANT: Final = KuadrantOptions()
_DEFAULT_VERIFY: Final = VerifyPolicy()
_TRANSPORTS: Final = {transport.value: transport for transport in Transport}
_VISIBILITIES: Final = {visibility.value: visibility for visibility in Visibility}

Row = list[Any]

_HEAD: Final = 128
"""Bytes within which the key stands, first of all."""

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

_GARBAGE: Final = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError)
"""What reading a file that we did not write can raise."""


@dataclass(frozen=True, slots=True)
class TreeCache:
    """The last desired state of one tree, in one file. `salt` stands for the settings that change the outcome."""

    path: Path
    salt: str

    def load(
        self, manifests: Mapping[str, bytes], read: Callable[[Iterable[str]], Files], now: datetime
    ) -> DesiredState | None:
        """Return what these manifests compiled to, or None when that is not known, or may not hold any more.

        `read` gives the bytes of the files that the manifests named then; they too must be what they were.
        """
        try:
            data, key = read_own(self.path) or b"", self._key(manifests)
            if key.encode() not in data[:_HEAD]:  # what is of no use is not worth being parsed
                return None
            entry: dict[str, Any] = json.loads(data)
            if entry["key"] != key:
                return None
            if now >= datetime.fromisoformat(entry["holds_until"]):
                return None
            if _digests(read(entry["named"]).data) != entry["named"]:
                return None
            return DesiredState(
                gateways={row[0][0]: _gateway(row, entry["bundles"]) for row in entry["gateways"]},
                problems=tuple(_problem(row) for row in entry["problems"]),
            )
        except _GARBAGE:
            return None

    def save(
        self, manifests: Mapping[str, bytes], named: Mapping[str, bytes], desired: DesiredState, holds_until: datetime
    ) -> None:
        """Remember a desired state without errors. Not being able to is no failure: the next pass parses again."""
        bundles = {text: index for index, text in enumerate(desired.bundles, start=1)}
        entry = {
            "key": self._key(manifests),
            "named": _digests(named),
            "holds_until": holds_until.isoformat(),
            "bundles": ["", *bundles],
            "problems": [astuple(problem) for problem in desired.problems],
        }
        with suppress(OSError):
            replace_own(self.path, _pieces(entry, (_row(wanted, bundles) for wanted in desired.gateways.values())))

    def _key(self, manifests: Mapping[str, bytes]) -> str:
        state = sha256(f"{__version__}\0{self.salt}".encode())
        for path, data in manifests.items():
            state.update(b"\0" + os.fsencode(path) + b"\0" + sha256(data).digest())
        return state.hexdigest()


def cache_file(environ: Mapping[str, str], root: Path) -> Path:
    """Return where the cache of the tree at `root` is kept."""
    return cache_directory(environ) / f"{sha256(os.fsencode(root)).hexdigest()[:32]}.json"


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Return where caches are kept."""
    home = environ.get("RECONCILER_CACHE_DIR") or environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "mcp-gateway-reconciler"


def holds_until(desired: DesiredState, now: datetime, expiry_warning_days: int) -> datetime:
    """Return the first moment after `now` at which a certificate's dates change what is said about the tree."""
    return min(
        (moment for moment in _dates(desired, now, timedelta(days=expiry_warning_days)) if moment > now), default=_END
    )


_END: Final = datetime(9999, 1, 1, tzinfo=UTC)


def _dates(desired: DesiredState, now: datetime, warning: timedelta) -> Iterator[datetime]:
    """Yield when a certificate becomes valid, is warned of, has a day less to live while it is, and has expired."""
    bundled = (certificate for bundle in desired.bundles.values() for certificate in bundle.certificates)
    for certificate in (*bundled, *desired.clients):
        yield certificate.not_before
        yield certificate.not_after - warning
        yield certificate.not_after
        if (left := certificate.not_after - now) <= warning:
            yield now + left % timedelta(days=1) + timedelta.resolution


def _digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: sha256(data).hexdigest() for name, data in files.items()}


def read_own(path: Path) -> bytes | None:
    """Return the content of a cache file if it is one that only we can have written.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return None
        return file.read(_SIZE_LIMIT)


def _pieces(entry: Mapping[str, Any], rows: Iterable[Row]) -> Iterator[bytes]:
    """Yield the entry and its rows as one JSON document: as a whole it would be as large as what it is made of."""
    yield _encode(entry).encode().removesuffix(b"}") + b',"gateways":['
    between = b""
    for row in rows:
        yield between + _encode(row).encode()
        between = b","
    yield b"]}"


def replace_own(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a cache file that its owner alone can read, completely or not at all.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(pieces)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _row(wanted: DesiredGateway, bundles: Mapping[str, int]) -> Row:
    gateway = wanted.gateway
    contextforge, kuadrant, verify = gateway.contextforge, gateway.kuadrant, wanted.verify
    return [
        [
            gateway.name,
            gateway.url,
            gateway.transport,
            gateway.description,
            gateway.enabled,
            gateway.visibility,
            gateway.tags,
            gateway.passthrough_headers,
            bundles[gateway.ca_certificate] if gateway.ca_certificate else 0,
            gateway.system_trust,
            gateway.client_certificate,
            _reference_row(gateway.client_key) if gateway.client_key else None,
            _auth_row(gateway.auth) if gateway.auth != _NO_AUTH else None,
            [contextforge.mode, contextforge.team] if contextforge != _NO_CONTEXTFORGE else None,
            _kuadrant_row(kuadrant) if kuadrant != _NO_KUADRANT else None,
        ],
        [wanted.location.file, wanted.location.line],
        wanted.labels,
        _verify_row(verify) if verify != _DEFAULT_VERIFY else None,
        wanted.protected,
        [suspension.until.isoformat(), suspension.reason] if (suspension := wanted.suspension) else None,
        astuple(wanted.ca_from) if wanted.ca_from else None,
    ]


def _verify_row(verify: VerifyPolicy) -> Row:
    """Return the policy, of its tools lock no more than names and digests: definitions are for who compares them."""
    lock = verify.tools_lock
    tools = None if lock is None or lock.tools is None else [[tool.name, tool.digest] for tool in lock.tools]
    row = [verify.mode, verify.timeout_seconds, verify.require_tools, verify.on_tools_change]
    return [*row, None if lock is None else [lock.file, tools]]


def _kuadrant_row(kuadrant: KuadrantOptions) -> Row:
    return list(astuple(kuadrant))


def _auth_row(auth: Auth) -> Row:
    return [auth.type, auth.settings, [[purpose, _reference_row(reference)] for purpose, reference in auth.secrets]]


def _reference_row(reference: SecretReference) -> Row:
    return [reference.kind, reference.name, reference.key]


def _gateway(row: Row, bundles: list[str]) -> DesiredGateway:
    (
        (name, url, transport, description, enabled, visibility, tags, headers, bundle, *rest),
        place,
        labels,
        verify,
        kept,
        suspension,
        ca_from,
    ) = row
    system_trust, client_certificate, client_key, auth, contextforge, kuadrant = rest
    return DesiredGateway(
        Gateway(
            name,
            url,
            _TRANSPORTS[transport],
            description,
            enabled,
            _VISIBILITIES[visibility],
            tuple(tags),
            tuple(headers),
            bundles[bundle],
            system_trust,
            client_certificate,
            SecretReference(*client_key) if client_key else None,
            _auth(*auth) if auth else _NO_AUTH,
            ContextForgeOptions(*contextforge) if contextforge else _NO_CONTEXTFORGE,
            _kuadrant(*kuadrant) if kuadrant else _NO_KUADRANT,
        ),
        Location(*place),
        tuple([(key, value) for key, value in labels]),
        _verify(*verify) if verify else _DEFAULT_VERIFY,
        kept,
        Suspension(datetime.fromisoformat(suspension[0]), suspension[1]) if suspension else None,
        CaReference(*ca_from) if ca_from else None,
    )


def _auth(kind: Any, settings: Row, secrets: Row) -> Auth:  # noqa: ANN401 - one of the literals that were saved
    return Auth(
        kind,
        tuple([(key, value) for key, value in settings]),
        tuple([(purpose, SecretReference(*reference)) for purpose, reference in secrets]),
    )


def _kuadrant(prefix: str, route: str, category: Row, *rest: Any) -> KuadrantOptions:  # noqa: ANN401 - as they were saved
    return KuadrantOptions(prefix, route, tuple(category), *rest)


def _verify(mode: Any, timeout: float, tools: Row, on_change: Any, lock: Row | None) -> VerifyPolicy:  # noqa: ANN401 - as above
    return VerifyPolicy(mode, timeout, tuple(tools), _lock(*lock) if lock else None, on_change)


def _lock(file: str, tools: list[Row] | None) -> ToolsLock:
    return ToolsLock(file, None if tools is None else tuple([Tool(*tool) for tool in tools]))


def _problem(row: Row) -> Problem:
    code, severity, message, location, fix, gateways = row
    return Problem(code, Severity(severity), message, Location(*location), fix, tuple(gateways))
