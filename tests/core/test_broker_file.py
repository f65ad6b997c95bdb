"""What is written reads back as it was, by our strict reader and by others, whatever the text."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.broker_file import (
    MARK,
    BrokerFile,
    broker_file_bytes,
    read_broker_file,
    strange_keys,
    trusts_nothing,
)
from reconciler.errors import StoreError

texts = st.text(max_size=60)
entries = st.fixed_dictionaries(
    {"name": texts},
    optional={
        "url": texts,
        "hostname": texts,
        "prefix": texts,
        "state": st.sampled_from(("Enabled", "Disabled", "")),
        "userSpecificList": st.booleans(),
        "category": st.lists(texts, max_size=3),
        "hint": texts,
        "tags": st.lists(texts, max_size=3),
        "credential": texts,
        "caCert": texts.map(lambda text: f"{text}\n") | st.just("-----BEGIN X-----\nAB CD=\n-----END X-----\n"),
    },
)
scalars = texts | st.booleans() | st.none() | st.integers(-(10**17), 10**17)
keys = st.text(min_size=1, max_size=30).filter(lambda key: key.lower() not in ("servers", "virtualservers", "<<"))
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
rests = st.dictionaries(keys.filter(lambda key: key.lower() != "gatewaycacertpem"), values, max_size=3)


@given(servers=st.lists(entries, max_size=4, unique_by=lambda entry: entry["name"]), rest=rests)
def test_what_is_written_reads_back_equal(servers: list[dict[str, Any]], rest: dict[str, Any]) -> None:
    data = broker_file_bytes(BrokerFile(tuple(servers), rest))
    again = read_broker_file("config.yaml", data)
    assert again.owned
    assert list(again.servers) == sorted(servers, key=lambda entry: entry["name"])
    assert again.rest == {"virtualServers": [], **rest}


@given(servers=st.lists(entries, max_size=3, unique_by=lambda entry: entry["name"]), rest=rests)
def test_another_reader_of_yaml_reads_the_same(servers: list[dict[str, Any]], rest: dict[str, Any]) -> None:
    document = yaml.load(broker_file_bytes(BrokerFile(tuple(servers), rest)), yaml.CSafeLoader)
    assert document == {
        "servers": sorted(servers, key=lambda entry: entry["name"]),
        "virtualServers": [],
        **rest,
    }


@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_the_bytes_only_a_store_error_is_raised(data: bytes) -> None:
    try:
        read_broker_file("config.yaml", data)
    except StoreError as error:
        assert str(error).startswith("config.yaml")  # noqa: PT017 - any other exception fails the test


def test_an_empty_file_is_a_valid_one_without_servers() -> None:
    assert read_broker_file("config.yaml", b"") == BrokerFile((), {}, owned=False)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("hint: 7", {"hint": "7"}),
        ("hint: true", {"hint": "1"}),
        ("hint: 1.5", {"hint": "1.5"}),
        ("hint: null", {}),
        ("HINT: x", {"hint": "x"}),
        ("tags: a,b", {"tags": ["a", "b"]}),
        ('tags: ""', {"tags": []}),
        ("tags: 7", {"tags": ["7"]}),
        ("tags: [1, x, null]", {"tags": ["1", "x"]}),
        ("userSpecificList: 1", {"userSpecificList": True}),
        ("userSpecificList: F", {"userSpecificList": False}),
        ("other: {A: b}", {"other": {"A": "b"}}),
    ],
)
def test_a_value_means_what_the_broker_makes_of_it(written: str, meant: dict[str, Any]) -> None:
    (entry,) = read_broker_file("config.yaml", f"servers:\n- {written}\n".encode()).servers
    assert entry == meant


def test_an_error_says_where_and_repeats_no_value() -> None:
    with pytest.raises(StoreError) as refusal:
        read_broker_file("config.yaml", b'servers:\n- name: one\n  credential: "Bearer hunter2\n')
    assert str(refusal.value).startswith("config.yaml:3:15: ")
    assert "hunter2" not in f"{refusal.value} {refusal.value.fix}"


def test_a_file_is_ours_by_its_first_line_alone() -> None:
    assert read_broker_file("c", f"{MARK}\nservers: []\n".encode()).owned
    assert not read_broker_file("c", f"\n{MARK}\nservers: []\n".encode()).owned
    assert not read_broker_file("c", f'servers: [] # "{MARK}"\n'.encode()).owned


def test_keys_that_no_manifest_can_say_are_known() -> None:
    assert strange_keys({"name": "a", "guardrailsConfigIDs": ["x"], "auth": {}}) == ("auth", "guardrailsConfigIDs")


@pytest.mark.parametrize(("bundle", "nothing"), [("", False), ("text", True), (["a"], True), (7, True)])
def test_a_gateway_bundle_without_a_certificate_is_noticed(bundle: object, nothing: bool) -> None:
    assert trusts_nothing(BrokerFile((), {"gatewayCACertPEM": bundle})) is nothing
    assert not trusts_nothing(BrokerFile())
