"""Leases in SQLite and PostgreSQL: one holder, who is followed when it dies, and whose writes are refused then."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from reconciler.books import open_books, open_books_at
from reconciler.core.history import Commit, Entry
from reconciler.core.lease import Fence
from reconciler.core.model import Action, Audit, Change, Gateway, Reason, Transport
from reconciler.errors import LeaseHeldError, StoreError
from reconciler.leases.postgresql import open_postgresql_lease
from reconciler.leases.sqlite import open_sqlite_lease
from reconciler.stores import open_store
from reconciler.stores.access import Access

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from live_postgresql import PostgreSQL

    from reconciler.core.ports import Store
    from reconciler.history import History
    from reconciler.journal import Journal
    from reconciler.leases import Lease
    from reconciler.leases.sql import SqlLease

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
AUDIT = Audit("alice", "cli", NOW)
SHORT = 0.3
LONG = 60.0


@dataclass(frozen=True)
class Place:
    """A database that has a lease. `lease(holder, seconds)` and `store()` open it anew."""

    lease: Callable[..., Lease]
    store: Callable[[], Store]
    history: Callable[[Fence], History]
    journal: Callable[[Fence], Journal]
    command: tuple[str, ...]
    environ: Mapping[str, str]


def in_sqlite(path: Path, closers: ExitStack) -> Place:
    def lease(holder: str, seconds: float = LONG) -> SqlLease:
        return closers.enter_context(closing(open_sqlite_lease(path, "target", holder, seconds)))

    return Place(
        lease,
        lambda: closers.enter_context(closing(open_store(f"sqlite:///{path}", create=True))),
        lambda fence: closers.enter_context(closing(open_books(path, create=True, fence=fence))).history,
        lambda fence: closers.enter_context(closing(open_books(path, create=True, fence=fence))).journal,
        (
            "from pathlib import Path; from reconciler.leases.sqlite import open_sqlite_lease",
            f"open_sqlite_lease(Path({str(path)!r}), 'target', 'dying', {{seconds}})",
        ),
        {},
    )


def in_postgresql(server: PostgreSQL, schema: str, closers: ExitStack) -> Place:
    environ = {"PGPASSWORD": server.password}
    url = server.url(schema=schema)

    def lease(holder: str, seconds: float = LONG) -> SqlLease:
        return closers.enter_context(closing(open_postgresql_lease(url, environ, "target", holder, seconds)))

    access = Access(environ, str)
    return Place(
        lease,
        lambda: closers.enter_context(closing(open_store(url, create=True, access=access))),
        lambda fence: closers.enter_context(closing(open_books_at(url, environ, create=True, fence=fence))).history,
        lambda fence: closers.enter_context(closing(open_books_at(url, environ, create=True, fence=fence))).journal,
        (
            "import os; from reconciler.leases.postgresql import open_postgresql_lease",
            f"open_postgresql_lease({url!r}, os.environ, 'target', 'dying', {{seconds}})",
        ),
        environ,
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as closers:
        if request.param == "sqlite":
            yield in_sqlite(tmp_path / "gateways.db", closers)
        else:
            server = request.getfixturevalue("postgresql")
            schema = f"lease_{secrets.token_hex(6)}"
            yield in_postgresql(server, schema, closers)
            closers.close()
            with closing(server.connect()) as connection:
                connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())


def created(name: str) -> Change:
    gateway = Gateway(name, f"https://{name}.example/mcp", Transport.SSE)
    return Change(Action.CREATE, name, Reason.ADDED, after=gateway)


def taken_within(lease: Lease, seconds: float) -> Fence:
    """Ask until the lease is had."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(LeaseHeldError):
            return lease.acquire()
        assert time.monotonic() < deadline, "the lease was not to be had"
        time.sleep(0.01)


def test_of_two_the_second_is_told_who_holds_it_and_for_how_long(place: Place) -> None:
    one, other = place.lease("host:1"), place.lease("host:2")
    assert one.acquire() == Fence("target", 1)
    with pytest.raises(LeaseHeldError, match=r"`target` is held by host:1, for (60|59) more seconds") as refusal:
        other.acquire()
    assert refusal.value.exit_code == 75
    with pytest.raises(LeaseHeldError, match="host:1"):
        one.acquire()


def test_what_was_given_back_is_free_at_once_and_its_token_grows(place: Place) -> None:
    one, other = place.lease("host:1"), place.lease("host:2")
    fence = one.acquire()
    one.release(fence)
    assert other.acquire() == Fence("target", 2)
    one.release(fence)  # late, and of no effect
    with pytest.raises(LeaseHeldError):
        one.acquire()


def test_without_a_heartbeat_it_runs_out_and_with_one_it_does_not(place: Place) -> None:
    one, other = place.lease("host:1", SHORT), place.lease("host:2", SHORT)
    fence = one.acquire()
    deadline = time.monotonic() + 3 * SHORT
    while time.monotonic() < deadline:
        one.renew(fence)
        with pytest.raises(LeaseHeldError):
            other.acquire()
    assert taken_within(other, 5) == Fence("target", 2)
    with pytest.raises(LeaseHeldError, match="taken by another"):
        one.renew(fence)


def test_one_that_nobody_took_goes_on_however_late_its_heartbeat(place: Place) -> None:
    one = place.lease("host:1", 0.0)
    fence = one.acquire()
    one.renew(fence)
    reign = one.reign()
    assert reign is not None
    assert (reign.holder, reign.token) == ("host:1", 1)


def test_before_anybody_asked_nobody_reigns(place: Place) -> None:
    assert place.lease("host:1").reign() is None


def test_of_many_who_ask_at_once_one_has_it(place: Place) -> None:
    leases = [place.lease(f"host:{number}") for number in range(6)]
    start = threading.Barrier(len(leases))

    def ask(lease: Lease) -> bool:
        start.wait()
        try:
            lease.acquire()
        except LeaseHeldError:
            return False
        return True

    with ThreadPoolExecutor(len(leases)) as threads:
        assert sorted(threads.map(ask, leases)) == [False] * 5 + [True]


def test_whoever_was_replaced_writes_nothing(place: Place) -> None:
    one, other, store = place.lease("host:1", 0.0), place.lease("host:2"), place.store()
    paused = replace(AUDIT, fence=one.acquire())
    assert [each.status for each in store.apply([created("before")], paused)] == ["applied"]
    reigning = replace(AUDIT, fence=taken_within(other, 5))
    held = store.read()
    with pytest.raises(LeaseHeldError, match="`target` is no longer ours: `host:2` has it, and nothing was written"):
        store.apply([created("late")], paused)
    assert store.read() == held
    assert [each.status for each in store.apply([created("after")], reigning)] == ["applied"]


def test_whoever_gave_it_back_writes_nothing_either(place: Place) -> None:
    lease, store = place.lease("host:1"), place.store()
    fence = lease.acquire()
    lease.release(fence)
    with pytest.raises(LeaseHeldError, match="nobody has it"):
        store.apply([created("late")], replace(AUDIT, fence=fence))
    assert store.read().gateways == {}


def test_journal_and_history_obey_the_fence_as_well(place: Place) -> None:
    one, other = place.lease("host:1", 0.0), place.lease("host:2")
    fence = one.acquire()
    entry = Entry(NOW, "alice", "cli", "host:1", Commit("main", False, "", ""), "store", 0)
    history, journal = place.history(fence), place.journal(fence)
    assert history.begin(entry, [created("one")], 10) == (1, ())
    taken_within(other, 5)
    with pytest.raises(LeaseHeldError):
        history.begin(entry, [created("two")], 10)
    with pytest.raises(LeaseHeldError):
        journal.forget(["one"])
    assert [each.id for each in history.entries(10)] == [1]


HOLDING = """
{imports}
lease = {lease}
lease.acquire()
print("held", flush=True)
import time; time.sleep(600)
"""


def test_whoever_is_killed_is_followed(place: Place) -> None:
    imports, lease = place.command
    script = HOLDING.format(imports=imports, lease=lease.format(seconds=1.0))
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env={**os.environ, **place.environ}
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGKILL)
    assert taken_within(place.lease("host:2"), 10) == Fence("target", 2)


@pytest.fixture
def on_postgresql(postgresql: PostgreSQL) -> Iterator[Place]:
    schema = f"lease_{secrets.token_hex(6)}"
    with ExitStack() as closers:
        yield in_postgresql(postgresql, schema, closers)
        closers.close()
        with closing(postgresql.connect()) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())


def test_a_server_that_saw_the_holder_go_does_not_wait_until_the_row_runs_out(on_postgresql: Place) -> None:
    seconds = 4.0
    gone, other = on_postgresql.lease("host:1", seconds), on_postgresql.lease("host:2", seconds)
    gone.acquire()
    begin = time.monotonic()
    gone.close()
    taken_within(other, 10)
    assert time.monotonic() - begin < seconds


def test_a_holder_that_lost_its_connection_and_came_back_keeps_the_lease(
    on_postgresql: Place, postgresql: PostgreSQL
) -> None:
    holder, other = on_postgresql.lease("host:1"), on_postgresql.lease("host:2")
    fence = holder.acquire()
    with closing(postgresql.connect()) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s", (fence.token,)
        )
    with pytest.raises(StoreError, match="shut down by its administrator"):
        holder.renew(fence)
    holder.renew(fence)
    with pytest.raises(LeaseHeldError):
        other.acquire()


def test_a_write_in_the_making_is_waited_for_and_takes_heartbeats_meanwhile(
    on_postgresql: Place, postgresql: PostgreSQL
) -> None:
    holder, other = on_postgresql.lease("host:1", 0.0), on_postgresql.lease("host:2")
    fence = holder.acquire()
    schema = holder._tables.address.schema  # type: ignore[attr-defined]
    with closing(postgresql.connect(schema)) as writer, ThreadPoolExecutor(1) as threads:
        with writer.transaction():
            writer.execute("SELECT token FROM reconciler_leases WHERE name = 'target' FOR KEY SHARE")
            holder.renew(fence)
            successor = threads.submit(other.acquire)
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
            with closing(postgresql.connect()) as watcher:
                while watcher.execute(waiting).fetchall() == [(0,)]:
                    assert not successor.done()
        assert successor.result() == Fence("target", 2)
