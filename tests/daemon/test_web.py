"""The HTTP server as a browser, Prometheus and a forge meet it: over real sockets."""

from __future__ import annotations

import hmac
import http.client
import re
from datetime import timedelta
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from reconciler.core.conditions import Condition
from reconciler.core.model import Certificate, Suspension
from reconciler.core.problems import Location, Problem, Severity
from reconciler.core.verification import Standing
from reconciler.daemon.board import Board, Row, TargetState
from reconciler.daemon.events import Event, Subject
from reconciler.daemon.probes import ProbePool
from reconciler.daemon.web.app import Door, View
from reconciler.daemon.web.metrics import METRICS, expose
from reconciler.daemon.web.server import serving
from reconciler.daemon.web.timeline import place
from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

HOSTILE = "<script>alert(1)</script>\"'&\u202e\x00"
TOKEN, SECRET = "open sesame", "between us"


def row(now: datetime, name: str, status: Any = "True", *, days: int = 400, **given: Any) -> Row:
    sha256, end = name.encode().hex().ljust(64, "0"), now + timedelta(days=days)
    certificate = Certificate(f"CN={name} CA", "CN=x", sha256, now, end, root=True, ca=True, pem="", file="x", line=1)
    kinds = ("Ready", "Synced", "Trusted", "Reachable", "Healthy")
    reason = "Ready" if status == "True" else "ConnectionRefused"
    conditions = tuple(Condition(kind, status, reason, "nobody listens there", "r", now) for kind in kinds)
    standing = Standing(name, f"https://{name}.example/mcp", True, "us", "r", conditions, (certificate,), 3, now)
    return Row(standing, **given)


@pytest.fixture
def board(now: datetime) -> Board:
    board = Board(now)
    board.put_target(TargetState("default", "sqlite:///x.db", last_success=now, last_pass=now))
    board.put_rows("default", {"payments": row(now, "payments"), "search": row(now, "search", "False", days=10)})
    board.note_tree(read_at=now, gateways=2, revision=f"main@sha1:{'a' * 40}")
    return board


class Server:
    """A server, and how often it was asked to look for news."""

    def __init__(self, board: Board, now: datetime) -> None:
        self.alive = self.ready = True
        self.pulls = 0
        self.pool = ProbePool()
        self.view = View(board, self.pool, lambda: now, lambda: self.alive, lambda: self.ready, self._pull)
        self.port = 0

    def _pull(self) -> None:
        self.pulls += 1

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=headers)

    def hook(self, body: bytes, **headers: str) -> int:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(f"http://127.0.0.1:{self.port}/hooks/git", content=body, headers=given).status_code


@pytest.fixture
def start(board: Board, now: datetime) -> Iterator[Callable[[Door], Server]]:
    """Start servers that end with the test."""
    from contextlib import ExitStack

    with ExitStack() as opened:

        def begin(door: Door) -> Server:
            server = Server(board, now)
            server.port = opened.enter_context(serving(server.view, door, "127.0.0.1", 0))
            opened.callback(server.pool.close)
            return server

        yield begin


class Page(HTMLParser):
    """What a browser would make of a page: its elements and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def page(server: Server, query: str = "") -> Page:
    return Page(server.get(f"/status{query}", Accept="text/html").text)


def test_health_says_whether_the_loops_come_round_and_readiness_whether_the_work_is_done(
    start: Callable[[Door], Server],
) -> None:
    server = start(Door())
    assert [server.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]
    server.alive = server.ready = False
    assert [server.get(path).status_code for path in ("/healthz", "/readyz")] == [503, 503]


def test_the_status_is_json_for_machines_and_a_page_for_people(start: Callable[[Door], Server]) -> None:
    server = start(Door())
    document = server.get("/status").json()
    (target,) = document["targets"]
    assert [gateway["name"] for gateway in target["gateways"]] == ["payments", "search"]
    assert document["tree"]["revision"].startswith("main@sha1:")
    assert "1 of 2 gateways is not ready" in page(server).text
    assert server.get("/status?format=json", Accept="text/html").json() == document
    assert server.get("/").headers["location"] == "status"


def test_what_is_wrong_comes_first_and_can_be_searched_for(start: Callable[[Door], Server]) -> None:
    server = start(Door())
    text = page(server).text
    assert text.index("search") < text.index("payments")
    assert "payments" in page(server, "?q=PAYMENTS").text
    assert "https://search.example/mcp" not in page(server, "?q=payments").text


def test_of_very_many_gateways_a_page_shows_some(start: Callable[[Door], Server], board: Board, now: datetime) -> None:
    board.put_rows("default", {f"g{number:04}": row(now, f"g{number:04}") for number in range(250)})
    server = start(Door())
    assert "page 1 of 3" in page(server).text
    assert "page 3 of 3" in page(server, "?page=3").text
    assert all(
        server.get(f"/status?page={odd}", Accept="text/html").status_code == 200 for odd in ("-1", "x", "9" * 50)
    )


def test_nothing_hostile_becomes_a_part_of_the_page(
    start: Callable[[Door], Server], board: Board, now: datetime
) -> None:
    board.put_rows("default", {HOSTILE: row(now, HOSTILE, "False", held=HOSTILE)})
    board.put_rows("default", {"z": row(now, "z", suspension=Suspension(now + timedelta(days=1), HOSTILE))})
    board.note_tree(
        broken=True, trouble=HOSTILE, distrusted=HOSTILE, revision=HOSTILE,
        problems=(Problem("x", Severity.ERROR, HOSTILE, Location(HOSTILE), HOSTILE),),
    )  # fmt: skip
    board.put_target(
        TargetState("default", HOSTILE, lease=HOSTILE, trouble=HOSTILE, refused=HOSTILE, held=((HOSTILE, HOSTILE),))
    )
    board.add_event(Event(now, "firing", HOSTILE, HOSTILE, Subject(HOSTILE, HOSTILE), HOSTILE, HOSTILE))
    server = start(Door())
    for query in ("", f"?q={httpx.QueryParams({'q': HOSTILE})}"):
        made = page(server, query)
        assert "script" not in {tag for tag, _ in made.tags}
        assert not [name for _, attributes in made.tags for name in attributes if name.startswith("on")]
        assert "\u202e" not in made.text
    made = page(server)
    assert made.text.count("<script>alert(1)</script>") >= 10  # as words


def test_the_page_loads_nothing_from_elsewhere_and_may_run_nothing(start: Callable[[Door], Server]) -> None:
    server = start(Door())
    answer = server.get("/status", Accept="text/html")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    made = Page(answer.text)
    links = [attributes.get("href") or attributes.get("src") for _, attributes in made.tags]
    assert {link for link in links if link} == {"status.css", "status.svg"}
    assert not [1 for _, attributes in made.tags if "style" in attributes]
    assert server.get("/status.css").headers["content-type"].startswith("text/css")
    assert "prefers-color-scheme: dark" in server.get("/status.css").text


def test_every_class_of_the_page_is_one_of_the_style_sheet(start: Callable[[Door], Server]) -> None:
    server = start(Door())
    styled = set(re.findall(r"\.([a-z-]+)", server.get("/status.css").text))
    used = {word for _, attributes in page(server).tags for word in (attributes.get("class") or "").split()}
    assert used <= styled | {"good", "bad"}


def test_where_there_is_a_token_it_is_asked_for_but_not_for_health(start: Callable[[Door], Server]) -> None:
    server = start(Door(token=TOKEN))
    for path in ("/status", "/metrics", "/"):
        assert server.get(path).status_code == 401
        assert server.get(path, Authorization="Bearer wrong").status_code == 401
        assert server.get(path, Authorization=f"Bearer {TOKEN}").status_code in (200, 303)
    assert server.get("/healthz").status_code == 200
    assert TOKEN not in repr(Door(token=TOKEN, hook_secret=SECRET)) + repr(Door(hook_secret=SECRET))


def test_on_the_loopback_interface_only_requests_for_this_host_are_answered(start: Callable[[Door], Server]) -> None:
    server = start(Door())
    assert server.get("/status", Host="rebound.example").status_code == 400
    assert server.get("/status", Host=f"localhost:{server.port}").status_code == 200
    assert start(Door(loopback=False)).get("/status", Host="reconciler.example").status_code == 200


def signed(body: bytes, secret: str = SECRET) -> str:
    return hmac.digest(secret.encode(), body, "sha256").hex()


def test_a_webhook_of_every_forge_is_taken_and_no_other(start: Callable[[Door], Server]) -> None:
    server, body = start(Door(hook_secret=SECRET)), b'{"ref": "refs/heads/main"}'
    assert server.hook(body, x_hub_signature_256=f"sha256={signed(body)}") == 202
    assert server.hook(body, x_gitea_signature=signed(body)) == 202
    assert server.hook(body, x_gitlab_token=SECRET) == 202
    assert server.pulls == 3
    assert server.hook(body) == 401
    assert server.hook(body, x_hub_signature_256=f"sha256={signed(body, 'another')}") == 401
    assert server.hook(body, x_hub_signature_256=f"sha256={signed(b'other')}", x_gitlab_token=SECRET) == 401
    assert server.hook(body, x_gitlab_token=SECRET[:-1]) == 401
    assert server.hook(b"x" * 6_000_000, x_gitlab_token=SECRET) == 413
    assert server.pulls == 3


def test_without_a_secret_no_webhook_is_taken(start: Callable[[Door], Server]) -> None:
    server = start(Door())
    assert server.hook(b"", x_gitlab_token="") == 404
    assert server.pulls == 0


def test_the_only_order_is_the_webhook(start: Callable[[Door], Server]) -> None:
    server = start(Door())
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
        connection.request(method, "/status")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 405
    connection.close()


def test_metrics_are_what_the_table_says(start: Callable[[Door], Server], board: Board, now: datetime) -> None:
    board.put_rows("default", {"z": row(now, "z", suspension=Suspension(now + timedelta(days=1)))})
    board.note_tree(pulled_at=now)
    for name, described in METRICS.items():
        labels = dict.fromkeys(described.labels, "x")
        if described.kind == "counter" and name != "reconciler_events_total":
            board.count(name, 1, **labels)
        elif described.kind == "histogram":
            board.observe(name, 0.02, **labels)
    board.add_event(Event(now, "happened", "Applied", "", Subject(), "key"))
    server = start(Door())
    text = server.get("/metrics").text
    told = dict(re.findall(r"^# TYPE (reconciler_\w+) (\w+)$", text, re.MULTILINE))
    assert told == {name: described.kind for name, described in METRICS.items()}
    assert 'reconciler_gateway_ready{gateway="search",target="default"} 0.0' in text
    assert 'reconciler_pass_seconds_bucket{kind="x",le="0.01",target="x"} 0.0' in text
    assert 'reconciler_pass_seconds_bucket{kind="x",le="0.025",target="x"} 1.0' in text
    assert "process_resident_memory_bytes" in text


def test_a_gateway_that_is_no_more_leaves_no_series(board: Board) -> None:
    pool = ProbePool()
    board.remove_rows("default", {"search"})
    assert b"search" not in expose(board, pool)
    pool.close()


def test_the_time_line_goes_from_now_to_ten_years_and_widens_what_is_near() -> None:
    assert (place(-5), place(0), place(3653), place(99_999)) == (2.0, 2.0, 98.0, 98.0)
    assert place(30) - place(0) > 3 * (place(3653) - place(3623))


def test_a_port_that_is_taken_is_an_error_that_says_what_to_do(start: Callable[[Door], Server]) -> None:
    server = start(Door())
    with (
        pytest.raises(ReconcilerError, match="cannot be listened on") as refused,
        serving(server.view, Door(), "127.0.0.1", server.port),
    ):
        pass
    assert "--listen" in refused.value.fix


def test_it_ends_though_a_client_holds_a_connection(board: Board, now: datetime) -> None:
    server = Server(board, now)
    with serving(server.view, Door(), "127.0.0.1", 0) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"ok\n"
    connection.close()
    server.pool.close()
