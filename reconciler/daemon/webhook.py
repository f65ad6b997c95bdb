"""Sends events to a URL, one request each, in order, and again until it is taken or too old to matter.

Whoever receives them knows repetitions by their key. The URL may hold a secret, so it is never shown; with a secret of
its own every body is signed as GitHub signs its webhooks.
"""

from __future__ import annotations

import hmac
import json
import logging
import queue
import threading
from time import monotonic
from typing import TYPE_CHECKING, Final

from reconciler.daemon.events import as_document
from reconciler.daemon.schedule import Backoff

if TYPE_CHECKING:
    from random import Random

    from reconciler.daemon.board import Board
    from reconciler.daemon.events import Event

_log: Final = logging.getLogger(__name__)
_KEPT: Final = 1000
_TIMEOUT_SECONDS: Final = 10.0
_OLDEST_SECONDS: Final = 900.0
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500


class Webhook:
    """A sink for events. What does not fit in the queue, and what nobody took in a quarter of an hour, is given up."""

    def __init__(self, url: str, secret: str, board: Board, chance: Random, retry: Backoff | None = None) -> None:
        self._url = url
        self._secret = secret
        self._board = board
        self._chance = chance
        self._retry = retry or Backoff(first=1.0, longest=60.0)
        self._queue: queue.Queue[Event] = queue.Queue(_KEPT)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Take an event; it is sent later."""
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self._board.count("reconciler_webhook_total", result="given up")

    def close(self, seconds: float = 5.0) -> None:
        """Send what there is, for no longer than that."""
        until = monotonic() + seconds
        while self._queue.unfinished_tasks and monotonic() < until:
            self._stopping.wait(0.05)
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                event = self._queue.get(timeout=1.0)
            except queue.Empty:
                continue
            self._deliver(event)
            self._queue.task_done()

    def _deliver(self, event: Event) -> None:
        body = json.dumps(as_document(event)).encode()
        begin, failures = monotonic(), 0
        while not self._stopping.is_set():
            said = self._send(body)
            if not said:
                self._board.count("reconciler_webhook_total", result="taken")
                return
            failures += 1
            if monotonic() - begin > _OLDEST_SECONDS or said == "refused":
                self._board.count("reconciler_webhook_total", result="given up")
                _log.warning("an event was given up: the webhook %s", said)
                return
            self._stopping.wait(self._retry.wait(failures, self._chance.random()))

    def _send(self, body: bytes) -> str:
        """Return nothing once the event was taken, `refused` when it never will be, or why it was not yet."""
        import httpx

        headers = {"content-type": "application/json", "user-agent": "mcp-gateway-reconciler"}
        if self._secret:
            digest = hmac.digest(self._secret.encode(), body, "sha256").hex()
            headers["x-hub-signature-256"] = f"sha256={digest}"
        try:
            answer = httpx.post(self._url, content=body, headers=headers, timeout=_TIMEOUT_SECONDS)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return f"could not be reached ({type(error).__name__})"
        if answer.is_success:
            return ""
        if answer.status_code == _TOO_MANY or answer.status_code >= _SERVER_ERROR:
            return f"answered {answer.status_code}"
        return "refused"
