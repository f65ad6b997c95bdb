"""The running broker behind the file: asked at `/status` until it has looked at what was written.

It is asked without credentials, redirects and proxies, for a bounded time. What it answers is for
`reconciler.core.broker_status`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from reconciler.clock import now
from reconciler.core.broker_status import MAX_BYTES, judged, read_status
from reconciler.core.model import Served
from reconciler.errors import InputError, StoreError
from reconciler.stores.access import BROKER, BROKER_TIMEOUT
from reconciler.stores.answers import bounded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import httpx

    from reconciler.core.broker_status import ServerStatus
    from reconciler.stores.access import Access

PATIENCE_SECONDS: Final = 75.0
"""The broker looks at a server at once when its connection changed, and otherwise every 60 seconds."""

_SECOND_CHANCE: Final = 1 / 15
"""Of that time, how much is left for what does not work: the broker tries again after one, two and four seconds."""

_PAUSE_SECONDS: Final = 0.1
_CALL_SECONDS: Final = 5.0
_OK: Final = 200
_FIX: Final = "check that the broker runs, and give the address of its HTTP port, such as http://127.0.0.1:8080"


class BrokerError(StoreError):
    """The broker gave no status; the message says why."""


class Broker:
    """A running broker. It is not shared between threads."""

    def __init__(self, url: str, *, seconds: float = PATIENCE_SECONDS) -> None:
        self._url = f"{url.rstrip('/')}/status"
        self._seconds = seconds

    def wait_for(self, written: Mapping[str, datetime | None]) -> tuple[Served, ...]:
        """Return what the broker says of these servers, once it has looked at each since it was written.

        Names lead to when a server was written; None stands for one that was not. What does not work gets a second
        chance, and whatever happens this ends.
        """
        import httpx

        headers = {"Accept-Encoding": "identity"}
        with httpx.Client(timeout=_CALL_SECONDS, follow_redirects=False, trust_env=False, headers=headers) as client:
            return self._wait(client, written)

    def _wait(self, client: httpx.Client, written: Mapping[str, datetime | None]) -> tuple[Served, ...]:
        deadline = time.monotonic() + self._seconds
        ends = deadline
        while True:
            found = self._judged(client, written)
            if all(each.status == "ready" for each in found):
                return found
            decided = all(each.status != "unknown" for each in found)
            ends = min(ends, time.monotonic() + self._seconds * _SECOND_CHANCE) if decided else deadline
            if time.monotonic() >= ends:
                return found
            time.sleep(_PAUSE_SECONDS)

    def _judged(self, client: httpx.Client, written: Mapping[str, datetime | None]) -> tuple[Served, ...]:
        try:
            statuses = self._statuses(client)
        except BrokerError as error:
            return tuple(Served(name, "failed", reason=str(error), fix=_FIX) for name in written)
        return tuple(judged(name, statuses, at) for name, at in written.items())

    def _statuses(self, client: httpx.Client) -> tuple[ServerStatus, ...]:
        import httpx

        try:
            with client.stream("GET", self._url) as response:
                body = _body(response)
                if response.status_code != _OK:
                    raise BrokerError(f"the broker answers {response.status_code} at {self._url}")
                return read_status(body, now())
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise BrokerError(f"no answer from the broker at {self._url}: {why}") from None
        except ValueError as error:
            raise BrokerError(f"what answers at {self._url} is no broker: {error}") from None


def broker_of(access: Access, patience: float = PATIENCE_SECONDS) -> Broker | None:
    """Return the broker to ask, None where none was named. `patience` is for how many seconds if nobody says so.

    Raises:
        InputError: its URL or the time to wait is none.
    """
    url, seconds = access.environ.get(BROKER, ""), access.environ.get(BROKER_TIMEOUT, "")
    return Broker(_checked(url), seconds=_seconds(seconds, patience)) if url else None


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = None
    if not usable or parts.query or parts.fragment or "@" in parts.netloc or not url.isprintable():
        raise InputError("the broker's URL is none, or has more than a host, a port and a path", fix=_FIX)
    return url


def _seconds(text: str, otherwise: float) -> float:
    try:
        seconds = float(text or otherwise)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:  # noqa: PLR2004 - an hour
        raise InputError(f"{BROKER_TIMEOUT} is not a number of seconds", fix="give between 1 and 3600")
    return seconds


def _body(response: httpx.Response) -> bytes:
    try:
        body = bounded(response.iter_bytes(), MAX_BYTES, time.monotonic() + _CALL_SECONDS)
    except TimeoutError:
        body = None
    if body is None:
        raise BrokerError("the broker's status is too large, or too slow")
    return body
