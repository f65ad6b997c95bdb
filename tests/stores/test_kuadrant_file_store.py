"""The store in a broker's file: the contract, the file itself, and whose it is."""

from __future__ import annotations

import os
import ssl
import stat
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from contract import (
    AUDIT,
    SIGNATURE,
    StoreContract,
    a_gateway,
    a_stamp,
    created,
    deleted,
    stored,
    updated,
)
from kuadrant_broker import KuadrantBroker, load
from kuadrant_site import ACCESS, bearer, everything, found

from reconciler.core.model import Gateway, Reason
from reconciler.errors import InputError, StoreError
from reconciler.stores import open_store
from reconciler.stores.kuadrant.rows import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.core.ports import Store
    from reconciler.demo.pki import Authority


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


@pytest.fixture
def opened(config: Path) -> Iterator[Callable[[], Store]]:
    with ExitStack() as stores:

        def open_another() -> Store:
            store = open_store(f"kuadrant+file://{config}", create=True, access=ACCESS)
            stores.callback(store.close)
            return store

        yield open_another


@pytest.fixture
def store(opened: Callable[[], Store]) -> Store:
    return opened()


class TestKuadrantFileStore(StoreContract):
    @pytest.fixture
    def opened(self, opened: Callable[[], Store]) -> Callable[[], Store]:
        return opened

    def a_gateway(self, name: str, **fields: Any) -> Gateway:
        return canonical(a_gateway(name, **fields))


def test_the_file_is_what_the_broker_reads(store: Store, config: Path, root: Authority) -> None:
    full = everything("payments", root)
    off = a_gateway("search", enabled=False)
    stored(store, created(off), created(full, SIGNATURE, a_stamp("payments")))
    loaded = load(config.read_bytes())
    assert [server["name"] for server in loaded["servers"]] == ["payments", "search"]
    payments, search = loaded["servers"]
    assert payments == {
        "name": "payments",
        "url": "https://payments.internal:8443/mcp",
        "hostname": "payments.local",
        "prefix": "pay_",
        "credential": "Bearer secret of 544f4b454e",
        "cacert": f"{root.pem.strip()}\n",
        "state": "Enabled",
        "hint": 'say "hi"\\',
        "category": ["finance", "no"],
        "tags": ["a", "b: c"],
        "userspecificlist": True,
    }
    assert (search["state"], search["hostname"], search["credential"]) == ("Disabled", "search.example", "")
    assert found(store, "payments").gateway == full
    assert config.read_text().startswith("# mcp-gateway-reconciler owns this file")
    assert f"  caCert: |\n    {root.pem.splitlines()[0]}\n" in config.read_text()


def test_a_store_that_is_opened_to_write_makes_a_file_that_a_broker_starts_with(store: Store, config: Path) -> None:
    assert store.read().gateways == {}
    with KuadrantBroker(config) as broker:
        assert broker.config == {"servers": [], "virtual": [], "bundle": ""}


def test_reading_makes_nothing(config: Path) -> None:
    store = open_store(f"kuadrant+file://{config}", create=False)
    assert store.read().gateways == {}
    with pytest.raises(StoreError, match="opened for reading"):
        store.apply([created(a_gateway("one"))], AUDIT)
    assert list(config.parent.iterdir()) == []


def test_every_file_can_be_read_by_its_owner_alone(store: Store, config: Path) -> None:
    stored(store, created(a_gateway("one", auth=bearer())))
    stored(store, created(a_gateway("two", auth=bearer())))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in config.parent.iterdir()}
    assert modes == dict.fromkeys(
        ("config.yaml", "config.yaml.lock", "config.yaml.previous", "config.yaml.reconciler.json"), 0o600
    )


def test_a_file_that_anybody_could_read_is_closed_by_the_first_apply(store: Store, config: Path) -> None:
    config.chmod(0o644)
    stored(store, created(a_gateway("one")))
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


def test_the_file_stays_with_the_user_that_the_broker_runs_as(store: Store, config: Path) -> None:
    user = 12345 if os.geteuid() == 0 else os.geteuid()
    os.chown(config, user, -1)
    stored(store, created(a_gateway("one")))
    assert config.stat().st_uid == user


def test_the_version_before_is_kept_beside_it(store: Store, config: Path) -> None:
    stored(store, created(a_gateway("one")))
    before = config.read_bytes()
    stored(store, created(a_gateway("two")))
    assert (config.parent / "config.yaml.previous").read_bytes() == before


def test_the_version_before_that_is_put_back_by_hand_has_its_stamps_again(store: Store, config: Path) -> None:
    stored(store, created(a_gateway("one"), SIGNATURE, a_stamp("one")))
    before = store.read()
    stored(store, updated(found(store), a_gateway("one", url="https://new.example/mcp"), "", a_stamp("one", "2")))
    (config.parent / "config.yaml.previous").rename(config)
    assert store.read() == before


def test_what_does_not_change_the_file_does_not_touch_it(store: Store, config: Path) -> None:
    gateway = a_gateway("one", auth=bearer())
    stored(store, created(gateway, "", a_stamp("one")))
    before = config.stat()
    stored(store, updated(found(store), gateway, SIGNATURE, a_stamp("one", "main@sha1:2222")))
    assert config.stat() == before
    assert (found(store).signature, found(store).stamp) == (SIGNATURE, a_stamp("one", "main@sha1:2222"))
    beside = (config.parent / "config.yaml.reconciler.json").stat()
    stored(store, updated(found(store), gateway, SIGNATURE, a_stamp("one", "main@sha1:2222")))
    assert (config.parent / "config.yaml.reconciler.json").stat() == beside


def test_signature_of_the_record_comes_back_byte_for_byte(store: Store) -> None:
    record = "0a" * 64
    stored(store, replace(created(a_gateway("one"), SIGNATURE, a_stamp("one")), record=record))
    assert found(store).record == record


@pytest.mark.parametrize(
    "url",
    [
        "kuadrant+file:",
        "kuadrant+file://config.yaml",
        "kuadrant+file:///x/config.json",
        "kuadrant+file:///x/config.toml",
        "kuadrant+file:///x/config.yaml?broker=http://hunter2",
        "kuadrant+file:///x/\0.yaml",
    ],
)
def test_a_url_that_names_no_file_that_a_broker_reads_is_refused(url: str) -> None:
    with pytest.raises(InputError) as refusal:
        open_store(url, create=True)
    assert "kuadrant+file:///etc/mcp-gateway/config.yaml" in refusal.value.fix
    assert "hunter2" not in str(refusal.value)


def test_a_directory_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no directory"):
        open_store(f"kuadrant+file://{tmp_path}/missing/config.yaml", create=True)


def test_a_link_is_read_and_not_written_for_the_broker_would_not_notice(store: Store, config: Path) -> None:
    stored(store, created(a_gateway("one")))
    elsewhere = config.rename(config.parent / "elsewhere.yaml")
    config.symlink_to(elsewhere)
    assert list(store.read().gateways) == ["one"]
    with pytest.raises(StoreError, match="is a link"):
        store.apply([created(a_gateway("two"))], AUDIT)
    assert config.is_symlink()


def test_a_link_to_nothing_is_not_replaced(config: Path) -> None:
    config.symlink_to(config.parent / "nothing.yaml")
    with pytest.raises(StoreError, match="is a link"):
        open_store(f"kuadrant+file://{config}", create=True, access=ACCESS).apply([created(a_gateway("one"))], AUDIT)
    assert config.is_symlink()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["directory", "pipe"])
def test_what_is_no_file_is_refused(config: Path, make: Callable[[Path], None]) -> None:
    make(config)
    with pytest.raises(StoreError, match=r"is not a file|cannot be read"):
        open_store(f"kuadrant+file://{config}", create=False).read()


# Whose it is

FOREIGN = """\
# written by hand
Servers:
  - Name: search
    URL: http://search.local/mcp
    hostname: search.local
    tags: a,b
    state: enabled
    hint: 7
    userSpecificList: "true"
    credential: Bearer hunter2
  - name: pay
    url: http://pay.local/mcp
    hostname: pay.local
virtualServers:
  - name: team/tools
    tools: [search_find, "no"]
    prompts: []
gatewaycacertpem: ""
globalGuardrails: {level: 3, strict: true}
"""


def test_a_file_of_somebody_else_is_read_as_the_broker_means_it(config: Path) -> None:
    config.write_text(FOREIGN)
    live = open_store(f"kuadrant+file://{config}", create=False).read().gateways
    assert list(live) == ["pay", "search"]
    search = live["search"].gateway
    assert (search.url, search.tags, search.kuadrant.hint) == ("http://search.local/mcp", ("a", "b"), "7")
    assert (search.enabled, search.kuadrant.user_specific_list) == (False, True)
    assert search.auth.type == "bearer"
    assert all(found.stamp is None for found in live.values())
    assert "hunter2" not in repr(live)


def test_a_file_of_somebody_else_is_refused_until_something_in_it_is_adopted(config: Path, store: Store) -> None:
    config.write_text(FOREIGN)
    with pytest.raises(StoreError, match="does not say that it is the reconciler's, and holds 2 servers") as refusal:
        store.apply([created(a_gateway("one"))], AUDIT)
    assert "reconciler adopt" in refusal.value.fix
    assert config.read_text() == FOREIGN
    adopted = updated(found(store, "pay"), found(store, "pay").gateway, "", a_stamp("pay"))
    stored(store, replace(adopted, reason=Reason.ADOPTED))
    assert (config.parent / "config.yaml.previous").read_text() == FOREIGN
    before, after = load(FOREIGN.encode()), load(config.read_bytes())
    assert after["servers"] == [{**before["servers"][1], "state": "Enabled"}, before["servers"][0] | TYPED]
    assert after["virtual"] == ["team/tools"]
    assert found(store, "pay").stamp == a_stamp("pay")
    assert found(store, "search").stamp is None


TYPED = {"hint": "7", "tags": ["a", "b"], "userspecificlist": True}


def test_what_else_is_in_the_file_stays_as_it_is(config: Path, store: Store, root: Authority) -> None:
    stored(store, created(a_gateway("one")))
    pem = "".join(f"  {line}\n" for line in root.pem.splitlines())
    virtual = 'virtualServers:\n- name: t/tools\n  tools: ["a", "no", "07"]\n  prompts: []\n'
    rest = f"gatewayCACertPEM: |\n{pem}globalGuardrails: {{level: 3, strict: true, deep: [[1], {{}}, null, 1.5]}}\n"
    config.write_text(config.read_text().replace("virtualServers: []\n", virtual + rest))
    before = yaml.safe_load(config.read_bytes())
    stored(store, created(a_gateway("two")))
    after = yaml.safe_load(config.read_bytes())
    assert [server["name"] for server in after.pop("servers")] == ["one", "two"]
    before.pop("servers")
    assert after == before


def test_an_empty_file_of_the_controller_needs_no_adoption(config: Path, store: Store) -> None:
    config.write_text("servers: []\nvirtualServers: []\n")
    stored(store, created(a_gateway("one")))
    assert list(store.read().gateways) == ["one"]


def test_whoever_removes_the_header_takes_the_file_and_adoption_brings_every_stamp_back(
    config: Path, store: Store
) -> None:
    stored(store, created(a_gateway("one"), "", a_stamp("one")), created(a_gateway("two"), "", a_stamp("two")))
    config.write_text("".join(line for line in config.read_text().splitlines(keepends=True) if line[0] != "#"))
    assert {each.stamp for each in store.read().gateways.values()} == {None}
    with pytest.raises(StoreError, match="does not say"):
        store.apply([deleted(found(store))], AUDIT)
    again = replace(updated(found(store), a_gateway("one"), "", a_stamp("one")), reason=Reason.ADOPTED)
    stored(store, again)
    assert [each.stamp for each in store.read().gateways.values()] == [a_stamp("one"), a_stamp("two")]


def test_keys_that_no_manifest_can_say_show_as_drift_and_heal(config: Path, store: Store) -> None:
    stored(store, created(a_gateway("one"), "", a_stamp("one")))
    config.write_text(
        config.read_text().replace("servers:\n", "servers:\n- tokenURLElicitation: {url: http://x}\n ", 1)
    )
    config.write_text(config.read_text().replace("\n - name", "\n  name"))
    assert found(store).gateway.kuadrant.hint == "unknown:tokenURLElicitation"
    stored(store, updated(found(store), a_gateway("one"), "", a_stamp("one")))
    assert "tokenURLElicitation" not in config.read_text()


def test_what_protects_a_server_is_not_lost_by_adopting_it(config: Path, store: Store) -> None:
    config.write_text("servers:\n- {name: one, url: http://one, guardrailsConfigIDs: [strict]}\n")
    adopting = replace(updated(found(store), a_gateway("one")), reason=Reason.ADOPTED)
    (outcome,) = store.apply([adopting], AUDIT)
    assert outcome.status == "refused"
    assert "guardrailsConfigIDs" in outcome.reason


def test_a_name_that_several_servers_have_is_nobodys_to_change(config: Path, store: Store) -> None:
    config.write_text(
        "servers:\n- {name: one, url: http://a}\n- {name: one, url: http://b}\n- {name: two, url: http://c}\n"
    )
    owner = found(store).stamp
    assert owner is not None
    assert owner.owner == "2 servers of this name"
    assert found(store, "two").stamp is None


def test_a_gateway_bundle_that_no_broker_would_load_is_not_written_again(config: Path, store: Store) -> None:
    stored(store, created(a_gateway("one")))
    config.write_text(config.read_text() + "gatewayCACertPEM: not a certificate\n")
    before = config.read_bytes()
    with pytest.raises(ssl.SSLError):
        load(before)
    with pytest.raises(StoreError, match="`gatewayCACertPEM` without a certificate"):
        store.apply([created(a_gateway("two"))], AUDIT)
    assert config.read_bytes() == before


HOSTILE = {
    "alias": "servers: &all []\nvirtualServers: *all\n",
    "merge": "servers:\n- <<: {name: one}\n",
    "tag": "servers: !!python/object/apply:os.system [id]\n",
    "duplicate": "servers: []\nservers: []\n",
    "any case": "servers: []\nSERVERS: []\n",
    "any case within": "servers:\n- {name: one, Name: two}\n",
    "deep": "servers: " + "[" * 100 + "]" * 100 + "\n",
    "tab": "servers:\n\t- name: one\n",
    "no list": "servers: {name: one}\n",
    "no server": "servers: [one]\n",
    "no text": "servers:\n- {name: [a], url: http://one}\n",
    "no flag": "servers:\n- {name: a, userSpecificList: perhaps}\n",
    "no keys": "- servers\n",
    "documents": "servers: []\n---\nservers: []\n",
    "latin": b"servers:\n- name: caf\xe9\n",
    "binary": b"\x00\x01",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_a_broker_may_not_load_or_in_another_way_is_refused_and_left_alone(
    config: Path, store: Store, text: str | bytes
) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    config.write_bytes(data)
    for use in (store.read, lambda: store.apply([created(a_gateway("one"))], AUDIT)):
        with pytest.raises(StoreError, match=r"config\.yaml"):
            use()
    assert config.read_bytes() == data


def test_a_file_too_large_to_be_one_is_refused_before_it_is_read(config: Path) -> None:
    with config.open("wb") as file:
        file.truncate(64 * 1024 * 1024 * 1024)
    with pytest.raises(StoreError, match="more than 33,554,432 bytes"):
        open_store(f"kuadrant+file://{config}", create=False).read()
