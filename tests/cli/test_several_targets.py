"""One repository, several stores."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from terminal import Terminal

CONFIG = """\
apiVersion: reconciler/v1
kind: Config
metadata: {name: fleet}
spec:
  owner: us
  path: gateways
  targets:
    - {name: test, store: "sqlite:///test.db", selector: {environment: test}}
    - {name: production, store: "sqlite:///production.db", path: gateways/production}
"""


@pytest.fixture
def fleet(terminal: Terminal) -> Terminal:
    terminal.write("reconciler.yaml", CONFIG)
    for name, environment in (("a", "test"), ("b", "test"), ("production/c", "production")):
        terminal.write(
            f"gateways/{name}.yaml",
            f"""apiVersion: reconciler/v1
kind: Gateway
metadata: {{name: {name[-1]}, labels: {{environment: {environment}}}}}
spec: {{url: "https://{name[-1]}.example/mcp", transport: sse, verify: {{mode: "off"}}}}
""",
        )
    return terminal


def rows(store: str) -> list[str]:
    with closing(sqlite3.connect(f"{store}.db")) as database:
        return [name for (name,) in database.execute("SELECT name FROM gateways ORDER BY name")]


def test_every_target_gets_what_belongs_in_it(fleet: Terminal) -> None:
    planned = fleet("plan", "-o", "json").document
    assert [(each["name"], each["summary"]["create"]) for each in planned["targets"]] == [
        ("test", 2),
        ("production", 1),
    ]
    applied = fleet("apply").out
    assert applied.index("Target test") < applied.index("create a") < applied.index("Target production")
    assert (rows("test"), rows("production")) == (["a", "b"], ["c"])
    assert fleet("plan", "--detailed-exitcode").out.count("No changes.") == 2


def test_one_target_can_be_chosen(fleet: Terminal) -> None:
    fleet("apply", "--target", "production")
    assert not (fleet.directory / "test.db").exists()
    assert rows("production") == ["c"]


def test_a_path_goes_to_the_targets_it_belongs_to_and_prunes_nothing_else(fleet: Terminal) -> None:
    fleet("apply")
    (fleet.directory / "gateways/a.yaml").unlink()
    (fleet.directory / "gateways/production/c.yaml").unlink()
    fleet("apply", "gateways/production", "--prune", "--allow-empty")
    assert (rows("test"), rows("production")) == (["a", "b"], [])


def test_a_path_of_no_target_is_refused(fleet: Terminal) -> None:
    fleet.write("elsewhere/x.yaml", "a: 1")
    refused = fleet("plan", "elsewhere", expect=3)
    assert "elsewhere belongs to no target" in refused.err
    assert "gateways (test), gateways/production (production)" in refused.err


def test_what_fails_for_one_target_does_not_stop_the_others(fleet: Terminal) -> None:
    fleet.write("test.db", "this is not a database" * 100)
    ended = fleet("apply", expect=1)
    assert "error: test: " in ended.err
    assert "is not an SQLite database" in ended.err
    assert rows("production") == ["c"]
    documents = fleet("apply", "-o", "json", expect=1).document["targets"]
    assert "not an SQLite database" in documents[0]["error"]
    assert documents[1]["plan"]["summary"]["unchanged"] == 1


def test_an_error_in_the_tree_stops_every_target(fleet: Terminal) -> None:
    fleet.gateway("broken", url=1)
    assert "broken.yaml" in fleet("apply", expect=3).err
    assert not (fleet.directory / "production.db").exists()


def test_a_saved_plan_holds_every_target(fleet: Terminal) -> None:
    fleet("plan", "--out", "plan.json")
    fleet("apply", "plan.json")
    assert (rows("test"), rows("production")) == (["a", "b"], ["c"])


def test_what_needs_one_store_asks_which(fleet: Terminal) -> None:
    assert "choose one with --target: test, production" in fleet("status", expect=3).err
