"""What a broker says, believed as far as it can be."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.broker_status import judged, meaning, read_status

NOW = datetime(2026, 8, 20, 12, tzinfo=UTC)
CONNECT = "failed to connect to upstream mcp one:: removing tools : "


def status(looked_at: str = "2026-08-20T11:59:59.123456789Z", **server: Any) -> bytes:
    said = {"name": "one", "ready": True, "message": "", "totalTools": 2, "lastValidated": looked_at, **server}
    return json.dumps({"servers": [said], "timestamp": "2026-08-20T12:00:00.5Z"}).encode()


def test_times_are_by_our_clock_whatever_the_brokers_says() -> None:
    body = status("2026-08-20T09:59:58+02:00")
    (server,) = read_status(body, NOW)
    assert server.looked_at == NOW - timedelta(hours=4, seconds=2.5)


def test_a_server_that_was_never_looked_at_has_no_time() -> None:
    (server,) = read_status(status("0001-01-01T00:00:00Z"), NOW)
    assert server.looked_at is None
    assert judged("one", [server], None).status == "unknown"


def test_only_what_was_said_since_the_write_counts() -> None:
    statuses = read_status(status("2026-08-20T11:59:59Z"), NOW)
    looked_at = NOW - timedelta(seconds=1.5)
    assert judged("one", statuses, looked_at - timedelta(seconds=1)).status == "ready"
    late = judged("one", statuses, looked_at)
    assert (late.status, late.reason) == ("unknown", "the broker has not looked at it since it was written")
    assert "--mcp-gateway-config" in late.fix
    assert judged("two", statuses, None).reason == "the broker does not know it yet"


def test_of_several_of_one_name_the_latest_counts() -> None:
    old = read_status(status("2026-08-20T11:00:00Z", ready=False, message="old"), NOW)
    new = read_status(status("2026-08-20T11:30:00Z"), NOW)
    assert judged("one", [*new, *old], None).status == "ready"


def test_tools_that_were_left_out_are_told() -> None:
    served = judged("one", read_status(status(invalidTools=3), NOW), None)
    assert (served.status, served.tools) == ("ready", 2)
    assert served.reason == "3 of its tools are left out, for their schemas are invalid"


MESSAGES = {
    f"{CONNECT}failed to parse CA certificate PEM for upstream one": ("holds nothing", "writes the reviewed bundle"),
    f"{CONNECT}tls: failed to verify certificate: x509: certificate signed by unknown authority": (
        "not issued by a CA of its bundle",
        "tls.caCertificates",
    ),
    f"{CONNECT}x509: certificate is valid for a.example, not b.example": ("for another name", "spec.url"),
    f"{CONNECT}x509: cannot validate certificate for 10.0.0.1 because it doesn't contain any IP SANs": (
        "for another name",
        "spec.url",
    ),
    f"{CONNECT}x509: certificate has expired or is not yet valid: current time": ("has expired", "renew it"),
    f"{CONNECT}remote error: tls: certificate required": ("asks for a client certificate", "credential"),
    f"{CONNECT}tls: first record does not look like a TLS handshake": ("plain HTTP", "the port that speaks TLS"),
    f"{CONNECT}http: server gave HTTP response to HTTPS client": ("plain HTTP", "the port that speaks TLS"),
    f"{CONNECT}x509: something new": ("was refused", "reconciler verify"),
    f"{CONNECT}dial tcp: lookup one.internal: no such host": ("cannot resolve", "DNS"),
    f"{CONNECT}dial tcp 127.0.0.1:1: connect: connection refused": ("nothing answers", "start the upstream"),
    f"{CONNECT}context deadline exceeded": ("does not answer in time", "firewall"),
    f"{CONNECT}unexpected status 401 Unauthorized": ("refuses the credential", "spec.auth"),
    f"{CONNECT}unexpected status 404 Not Found": ("nothing at the path", "path"),
    "upstream mcp one:: rejected: 3 invalid tools found": ("rejects the whole server", "FilterOut"),
    "upstream mcp failed to add tools to gateway one:: : conflict": ("tools of the same names", "kuadrant.prefix"),
    f"{CONNECT}unsupported protocol version": ("no common version", "update"),
    f"{CONNECT}EOF": ("breaks the connection off", "log"),
    "something else": ("the broker says: something else", "broker's log"),
    "": ("does not say why", "broker's log"),
}


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.removeprefix(CONNECT)[:40])
def test_messages_of_the_broker_say_what_to_do(message: str) -> None:
    what, fix = MESSAGES[message]
    served = judged("one", read_status(status(ready=False, message=message), NOW), None)
    assert served.status == "failed"
    assert what in served.reason
    assert fix in served.fix


def test_a_message_moves_no_cursor_and_fills_no_screen() -> None:
    said, _ = meaning("\x1b[2J" + "x" * 10_000)
    assert said.isprintable()
    assert len(said) < 400


HOSTILE: list[Any] = [
    [],
    {},
    {"servers": 1},
    {"servers": [1]},
    {"servers": [{"name": 1}]},
    {"servers": [{"message": []}]},
    {"servers": [{"totalTools": "many"}]},
    {"servers": [{"lastValidated": "yesterday"}]},
    {"servers": [{"lastValidated": "2026-01-01T00:00:00"}]},
    {"servers": [{"lastValidated": 7}]},
    {"servers": [], "timestamp": "x"},
    {"servers": [{"lastValidated": "1970-01-01T00:00:00Z"}], "timestamp": "9999-12-31T23:59:59Z"},
]


@pytest.mark.parametrize("document", HOSTILE, ids=str)
def test_what_is_no_status_is_refused(document: Any) -> None:
    with pytest.raises(ValueError, match="not the status of a broker"):
        read_status(json.dumps(document).encode(), NOW)


@given(body=st.binary(max_size=100))
def test_whatever_the_bytes_nothing_else_is_raised(body: bytes) -> None:
    with pytest.raises(ValueError, match="not the status of a broker"):
        read_status(body, NOW)
