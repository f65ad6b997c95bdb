"""A gateway that is suspended: what the manifest says, and what a plan makes of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from reconciler.cache import TreeCache
from reconciler.composition import read_tree
from reconciler.core.model import LiveGateway, LiveState, Stamp, Suspension
from reconciler.core.planning import Terms, plan
from reconciler.core.signatures import signatures
from reconciler.core.signing import Keyring
from reconciler.core.snapshot import Files
from reconciler.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.core.model import DesiredState

NOW = datetime(2026, 11, 21, tzinfo=UTC)
MANIFEST = """
apiVersion: reconciler/v1
kind: Gateway
metadata:
  name: a
  annotations:
    {annotations}
spec: {{url: "https://a.example/mcp", transport: sse}}
"""


def desired(directory: Path, annotations: str) -> DesiredState:
    (directory / "a.yaml").write_text(MANIFEST.format(annotations=annotations))
    return read_tree(load_settings((directory,)), NOW, with_revision=False)


UNTIL = 'reconciler/suspend-until: "2026-12-24T08:00:00+01:00"'


def test_the_moment_and_the_reason_are_read(tmp_path: Path) -> None:
    state = desired(tmp_path, f"{UNTIL}\n    reconciler/suspend-reason: moving house")
    assert state.gateways["a"].suspension == Suspension(datetime(2026, 12, 24, 7, tzinfo=UTC), "moving house")


def test_a_day_that_is_not_in_the_calendar_is_a_problem(tmp_path: Path) -> None:
    state = desired(tmp_path, 'reconciler/suspend-until: "2026-02-30T08:00:00Z"')
    (problem,) = (each for each in state.problems if each.severity == "error")
    assert "no day of the calendar" in problem.message
    assert problem.location.file == "a.yaml"
    assert not state.complete


def test_it_is_remembered_with_the_tree(tmp_path: Path) -> None:
    state = desired(tmp_path, UNTIL)
    cache = TreeCache(tmp_path / "cache.json", "salt")
    cache.save({}, {}, state, datetime(2099, 1, 1, tzinfo=UTC))
    remembered = cache.load({}, lambda _names: Files(), NOW)
    assert remembered is not None
    assert remembered.gateways == state.gateways


@pytest.mark.parametrize("there", ["as it should be", "changed", "missing"])
def test_a_plan_leaves_what_is_suspended_alone(tmp_path: Path, there: str) -> None:
    state = desired(tmp_path, UNTIL)
    row = state.gateways["a"].gateway
    rows = {"a": LiveGateway(row, "", Stamp("us", "a.yaml", "r", "sha256:other"), "1")} if there != "missing" else {}
    unsigned = signatures(None, Keyring.of({}))
    made = plan(
        state,
        LiveState(rows),
        unsigned,
        Terms("us", prune=True, suspended={"a": Suspension(datetime(2999, 1, 1, tzinfo=UTC))}),
    )
    assert made.changes == ()
    assert made.orphans == ()
    if there == "missing":
        assert plan(state, LiveState(rows), unsigned, Terms("us", prune=True)).changes
