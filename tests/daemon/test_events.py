"""What is told, when, how often, and to whom."""

from __future__ import annotations

import hmac
import json
import random
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from watching import eventually

from reconciler.daemon.board import Board
from reconciler.daemon.events import Event, Notices, Subject, as_document
from reconciler.daemon.schedule import Backoff
from reconciler.daemon.webhook import Webhook

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PAYMENTS = Subject("default", "payments")


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def notices(told: list[Event]) -> Notices:
    return Notices(lambda: NOW, [told.append])


def test_a_problem_is_told_once_and_so_is_its_end(notices: Notices, told: list[Event]) -> None:
    for _ in range(3):
        notices.problem(PAYMENTS, "Ready", "ConnectionRefused", "nobody there")
    for _ in range(3):
        notices.over(PAYMENTS, "Ready", "ready again")
    assert [(event.state, event.reason) for event in told] == [
        ("firing", "ConnectionRefused"),
        ("resolved", "ConnectionRefused"),
    ]


def test_a_new_reason_is_told_under_the_same_key(notices: Notices, told: list[Event]) -> None:
    notices.problem(PAYMENTS, "Ready", "ConnectionRefused", "nobody there")
    notices.problem(PAYMENTS, "Ready", "CertificateExpired", "too late")
    notices.over(PAYMENTS, "Ready", "ready again")
    notices.problem(PAYMENTS, "Ready", "ConnectionRefused", "again")
    assert {event.key for event in told} == {"default/payments/Ready"}
    assert len(told) == 4


def test_what_was_told_before_a_restart_is_not_told_again_but_its_end_is(notices: Notices, told: list[Event]) -> None:
    notices.told_before(PAYMENTS, "Ready", "ConnectionRefused")
    notices.problem(PAYMENTS, "Ready", "ConnectionRefused", "nobody there")
    assert told == []
    notices.over(PAYMENTS, "Ready", "ready again")
    assert [event.state for event in told] == ["resolved"]


def test_the_end_of_what_never_was_is_not_told(notices: Notices, told: list[Event]) -> None:
    notices.over(PAYMENTS, "Ready", "ready")
    assert told == []


def test_what_happens_for_a_revision_has_a_key_of_its_own(notices: Notices, told: list[Event]) -> None:
    for revision in ("main@sha1:1", "main@sha1:2", "main@sha1:1"):
        notices.happened(Subject("default"), "Applied", "1 created", revision)
    assert [event.key for event in told] == [
        "default/-/Applied@main@sha1:1",
        "default/-/Applied@main@sha1:2",
        "default/-/Applied@main@sha1:1",
    ]


def test_a_message_is_bounded(notices: Notices, told: list[Event]) -> None:
    notices.problem(PAYMENTS, "Ready", "X", "x" * 100_000)
    assert len(told[0].message) == 1024


def test_the_document_says_what_it_is_about() -> None:
    kinds = [
        as_document(Event(NOW, "firing", "X", "", subject, "k"))["involvedObject"]
        for subject in (PAYMENTS, Subject("default"), Subject())
    ]
    assert kinds == [
        {"kind": "Gateway", "name": "payments"},
        {"kind": "Target", "name": "default"},
        {"kind": "Tree", "name": "tree"},
    ]


class Receiver:
    """Takes events after refusing some of them with the given statuses first."""

    def __init__(self, refusals: list[int]) -> None:
        self.taken: list[tuple[bytes, str]] = []
        self.asked = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.asked += 1
                status = refusals.pop(0) if refusals else 204
                if status == 204:
                    receiver.taken.append((body, self.headers.get("x-hub-signature-256", "")))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as the library has it
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/secret-path"


@contextmanager
def receiving(*refusals: int) -> Iterator[Receiver]:
    receiver = Receiver(list(refusals))
    thread = threading.Thread(target=receiver.server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()


def event(number: int) -> Event:
    return Event(NOW, "happened", "Applied", f"number {number}", Subject("default"), f"key {number}")


def counted(board: Board) -> dict[str, int]:
    return {labels[0][1]: count for (name, labels), count in board.counts().items() if name.endswith("webhook_total")}


def test_events_are_sent_in_order_signed_and_again_until_they_are_taken() -> None:
    board = Board(NOW)
    with receiving(500, 503, 429) as receiver:
        webhook = Webhook(receiver.url, "between us", board, random.Random(1), Backoff(0.01, 0.01))
        for number in range(3):
            webhook(event(number))
        eventually(lambda: len(receiver.taken) == 3)
        webhook.close()
    assert [json.loads(body)["message"] for body, _ in receiver.taken] == ["number 0", "number 1", "number 2"]
    for body, signature in receiver.taken:
        assert signature == f"sha256={hmac.digest(b'between us', body, 'sha256').hex()}"
    assert (receiver.asked, counted(board)) == (6, {"taken": 3})


def test_an_event_that_will_never_be_taken_is_given_up_and_the_next_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    board = Board(NOW)
    with receiving(400) as receiver:
        webhook = Webhook(receiver.url, "", board, random.Random(1), Backoff(0.01, 0.01))
        webhook(event(0))
        webhook(event(1))
        eventually(lambda: len(receiver.taken) == 1)
        eventually(lambda: counted(board) == {"given up": 1, "taken": 1})
        webhook.close()
    assert "secret-path" not in caplog.text


def test_a_receiver_that_is_away_does_not_hold_up_the_end() -> None:
    webhook = Webhook("http://127.0.0.1:1/", "", Board(NOW), random.Random(1), Backoff(60, 60))
    webhook(event(0))
    webhook.close(seconds=0.2)
