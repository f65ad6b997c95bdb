"""What lies beside a broker's file: marks, credentials by reference only, and what crashes and other writers leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from contract import (
    AUDIT,
    SIGNATURE,
    a_gateway,
    a_stamp,
    created,
    deleted,
    statuses,
    stored,
    updated,
)
from kuadrant_broker import load
from kuadrant_site import ACCESS, bearer, everything, found, secret_of

from reconciler.core.model import Auth, SecretReference
from reconciler.errors import InputError, StoreBusyError, StoreError
from reconciler.stores import open_store
from reconciler.stores.access import Access
from reconciler.stores.kuadrant import files

if TYPE_CHECKING:
    from reconciler.core.ports import Store
    from reconciler.demo.pki import Authority


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


@pytest.fixture
def store(config: Path) -> Store:
    return open_store(f"kuadrant+file://{config}", create=True, access=ACCESS)


# The marks beside it


def test_nothing_beside_the_file_tells_a_credential(config: Path, store: Store) -> None:
    stored(store, created(a_gateway("one", auth=bearer()), "", a_stamp("one")))
    stored(store, created(a_gateway("two", auth=bearer()), "", a_stamp("two")))
    secret = secret_of(SecretReference("env", "TOKEN"))
    assert secret in config.read_text()
    assert secret not in (config.parent / "config.yaml.reconciler.json").read_text()
    assert secret not in repr(store.read())


def test_a_token_does_not_let_a_credential_be_guessed(config: Path, store: Store) -> None:
    """Tokens are in saved plans, which others read. Equal servers of two files have different ones."""
    other = open_store(f"kuadrant+file://{config.parent}/other.yaml", create=True, access=ACCESS)
    for each in (store, other):
        stored(each, created(a_gateway("one", auth=bearer())))
    assert found(store).token != found(other).token


def test_marks_that_got_lost_leave_everything_unowned(config: Path, store: Store) -> None:
    stored(store, created(a_gateway("one", description="text", auth=bearer()), SIGNATURE, a_stamp("one")))
    (config.parent / "config.yaml.reconciler.json").unlink()
    lost = found(store)
    assert (lost.stamp, lost.signature, lost.gateway.description) == (None, "", "")
    assert dict(lost.gateway.auth.secrets)["token"] != bearer().secrets[0][1]


BROKEN_MARKS = [
    b"",
    b"{}",
    b"[]",
    b'{"format": 2, "salt": "", "versions": []}',
    b'{"format": 1, "salt": "", "versions": {}}',
    b'{"format": 1, "salt": "", "versions": [{"file": "", "servers": {"one": {"stamp": 1}}}]}',
    b'{"format": 1, "salt": "", "versions": [{"file": "", "servers": {"one": {"auth": {"type": "x"}}}}]}',
    b'{"format": 1, "salt": "\\ud800", "versions": []}',
    b"[" * 100_000,
    b"\xff",
]


@pytest.mark.parametrize("data", BROKEN_MARKS, ids=lambda data: repr(data[:60]))
def test_broken_marks_stop_everything_for_nobody_knows_what_is_ours(config: Path, store: Store, data: bytes) -> None:
    stored(store, created(a_gateway("one"), "", a_stamp("one")))
    beside = config.parent / "config.yaml.reconciler.json"
    beside.write_bytes(data)
    with pytest.raises(StoreError, match=r"config\.yaml\.reconciler\.json is broken") as refusal:
        store.read()
    assert "reconciler adopt" in refusal.value.fix
    assert beside.read_bytes() == data


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("url: ", "url: x"),
        ("prefix: ", "prefix: x"),
        ("credential: ", "credential: x"),
        ("Enabled", "Disabled"),
        ("hostname: ", "hostname: x"),
        ('"finance"', '"fun"'),
    ],
)
def test_an_edit_of_the_file_shows_as_drift_and_stales_the_token(
    config: Path, store: Store, root: Authority, old: str, new: str
) -> None:
    full = everything("one", root)
    stored(store, created(full, SIGNATURE, a_stamp("one")))
    before = found(store)
    edited = config.read_text().replace(old, new, 1).replace('x"', '"x')
    assert edited != config.read_text()
    config.write_text(edited)
    drifted = found(store)
    assert drifted.gateway != full
    assert drifted.stamp == before.stamp
    assert statuses(store.apply([deleted(before)], AUDIT)) == ["refused"]
    stored(store, updated(drifted, full, SIGNATURE, a_stamp("one")))
    assert found(store) == before


# Credentials


def access_to(secrets: dict[str, str]) -> Access:
    """Access whose secrets are in a dictionary, under a seal."""

    def secret(reference: SecretReference) -> str:
        if reference.name not in secrets:
            raise InputError(f"the environment variable {reference.name} is empty or not set", fix="set it")
        return secrets[reference.name]

    return Access({}, secret, lambda text: sha256(b"key" + text.encode()).hexdigest())


@pytest.fixture
def secrets() -> dict[str, str]:
    return {"TOKEN": "one"}


@pytest.fixture
def secretive(config: Path, secrets: dict[str, str]) -> Store:
    return open_store(f"kuadrant+file://{config}", create=True, access=access_to(secrets))


BASIC = Auth("basic", (("username", "ann"),), (("password", SecretReference("env", "TOKEN")),))
HEADER = Auth("headers", (), (("authorization", SecretReference("env", "TOKEN")),))


@pytest.mark.parametrize(
    ("auth", "credential"), [(bearer(), "Bearer one"), (BASIC, "Basic YW5uOm9uZQ=="), (HEADER, "one"), (Auth(), "")]
)
def test_a_credential_is_the_whole_value_of_the_header(
    config: Path, secretive: Store, auth: Auth, credential: str
) -> None:
    stored(secretive, created(a_gateway("one", auth=auth)))
    assert load(config.read_bytes())["servers"][0]["credential"] == credential
    assert found(secretive).gateway.auth == auth


def test_a_secret_that_changed_shows_as_drift_and_is_written(
    config: Path, secretive: Store, secrets: dict[str, str]
) -> None:
    gateway = a_gateway("one", auth=bearer())
    stored(secretive, created(gateway))
    secrets["TOKEN"] = "two"  # noqa: S105 - no secret
    assert found(secretive).outdated == ("auth",)
    stored(secretive, updated(found(secretive), gateway))
    assert load(config.read_bytes())["servers"][0]["credential"] == "Bearer two"
    assert found(secretive).gateway == gateway


def test_where_a_secret_is_not_to_be_had_the_one_in_the_file_stays(
    config: Path, secretive: Store, secrets: dict[str, str]
) -> None:
    stored(secretive, created(a_gateway("one", auth=bearer())))
    secrets.clear()
    assert found(secretive).gateway.auth == bearer()
    stored(secretive, updated(found(secretive), a_gateway("one", auth=bearer(), url="https://new.example")))
    assert load(config.read_bytes())["servers"][0]["credential"] == "Bearer one"
    (outcome,) = secretive.apply([updated(found(secretive), a_gateway("one", auth=bearer("OTHER")))], AUDIT)
    assert (outcome.status, "OTHER is empty or not set: set it" in outcome.reason) == ("failed", True)
    assert found(secretive).gateway.auth == bearer()


def test_references_without_our_seal_are_not_followed(config: Path, secretive: Store, secrets: dict[str, str]) -> None:
    """Whoever can write beside the file must not choose what is read here."""
    stored(secretive, created(a_gateway("one", auth=bearer())))
    secrets["BAIT"] = "one"
    beside = config.parent / "config.yaml.reconciler.json"
    beside.write_text(beside.read_text().replace('"TOKEN"', '"BAIT"'))
    followed = found(secretive).gateway.auth
    secrets["BAIT"] = "other"
    assert found(secretive).gateway.auth == followed == bearer("BAIT")


def test_a_secret_that_no_header_can_carry_is_refused_and_not_repeated(
    config: Path, secretive: Store, secrets: dict[str, str]
) -> None:
    secrets["TOKEN"] = "hunter2\r\nX-Admin: yes"  # noqa: S105 - as above
    before = config.read_bytes()
    outcomes = secretive.apply([created(a_gateway("one", auth=bearer())), created(a_gateway("two"))], AUDIT)
    assert statuses(outcomes) == ["failed", "skipped"]
    assert "hunter2" not in repr(outcomes)
    assert config.read_bytes() == before


def test_text_that_is_not_unicode_fails_that_change_and_skips_the_others(store: Store, config: Path) -> None:
    before = config.read_bytes()
    for fields in ({"description": "\ud800"}, {"url": "\ud800"}):
        outcomes = store.apply([created(a_gateway("one")), created(a_gateway("two", **fields))], AUDIT)
        assert statuses(outcomes) == ["skipped", "failed"]
        assert "not Unicode" in outcomes[1].reason
    assert config.read_bytes() == before


# Crashes and other writers


def test_between_the_two_writes_everything_is_as_it_was(store: Store, config: Path) -> None:
    """The marks are written first: an old file with new marks is what a crash can leave."""
    stored(store, created(a_gateway("one"), SIGNATURE, a_stamp("one")), created(a_gateway("two"), "", a_stamp("two")))
    before, old = store.read(), config.read_bytes()
    live = before.gateways
    stored(
        store,
        updated(live["one"], a_gateway("one", url="https://new.example", description="new"), "", a_stamp("one", "2")),
        deleted(live["two"]),
        created(a_gateway("three"), "", a_stamp("three")),
    )
    after, new = store.read(), config.read_bytes()
    config.write_bytes(old)
    assert store.read() == before
    config.write_bytes(new)
    assert store.read() == after


def test_an_edit_after_such_a_crash_costs_no_stamp_of_what_was_not_edited(store: Store, config: Path) -> None:
    names = ("one", "two", "three")
    stored(store, *(created(a_gateway(name), "", a_stamp(name)) for name in names))
    before, old = store.read(), config.read_text()
    stored(store, *(deleted(found) for found in before.gateways.values()))
    config.write_text(old.replace("https://two.example", "https://evil.example"))
    after = store.read().gateways
    assert (after["one"], after["three"]) == (before.gateways["one"], before.gateways["three"])


def test_a_server_that_somebody_makes_anew_is_not_taken_for_ours(store: Store, config: Path) -> None:
    stored(store, created(a_gateway("one"), "", a_stamp("one")), created(a_gateway("two"), "", a_stamp("two")))
    stored(store, deleted(found(store)))
    config.write_text(config.read_text().replace("servers:\n", "servers:\n- {name: one, url: http://theirs}\n", 1))
    assert found(store).stamp is None
    assert found(store, "two").stamp == a_stamp("two")


WRITER = Path(__file__).parent / "kuadrant_writer.py"


def test_whatever_the_moment_of_its_death_no_generation_is_mixed_and_no_stamp_is_lost(config: Path) -> None:
    """A writer is killed a hundred times; `kuadrant_writer.py` prints what each death left."""
    environ = {**os.environ, "PYTHONPATH": str(WRITER.parents[1])}
    command = [sys.executable, str(WRITER), str(config), "7"]
    printed = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=100).stdout
    states = [json.loads(line) for line in printed.splitlines()]
    assert len(states) == 100
    for loaded, known in states:
        generation = loaded[0].rpartition("/")[2]
        urls = [f"https://host-{number}.example/{generation}" for number in range(4)]
        assert loaded == urls
        assert list(known.values()) == [[url, generation, generation, SIGNATURE] for url in urls]
    assert len({loaded[0] for loaded, _ in states}) > 10


def test_what_a_killed_writer_left_is_cleared_away(store: Store, config: Path) -> None:
    (config.parent / ".config.yaml.new").write_text("half")
    stored(store, created(a_gateway("one")))
    assert not list(config.parent.glob(".*"))


def test_a_writer_that_finds_the_file_locked_all_the_time_is_told(config: Path) -> None:
    with files.locked(config), pytest.raises(StoreBusyError, match="another writer"), files.locked(config, 0.05):
        pass
    with files.locked(config, 0.05):
        pass


def test_readers_see_whole_states_while_others_write(config: Path, store: Store) -> None:
    writer, reader = store, open_store(f"kuadrant+file://{config}", create=False, access=ACCESS)
    done = threading.Event()
    seen: list[tuple[str, ...]] = []

    def read() -> None:
        while not done.is_set():
            live = reader.read().gateways.values()
            seen.append(tuple(f"{each.gateway.description} {each.stamp and each.stamp.revision}" for each in live))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for number in map(str, range(60)):
            live = writer.read().gateways
            fleet = [a_gateway(name, description=number, url=f"https://{number}.example") for name in "ab"]
            stored(writer, *map(deleted, live.values())) if number == "30" else None
            live = writer.read().gateways
            stored(
                writer,
                *(
                    updated(live[each.name], each, "", a_stamp(each.name, number))
                    if each.name in live
                    else created(each, "", a_stamp(each.name, number))
                    for each in fleet
                ),
            )
    finally:
        done.set()
        thread.join()
    assert {state for state in seen if state} <= {(f"{number} {number}",) * 2 for number in range(60)}
    assert len(set(seen)) > 1
