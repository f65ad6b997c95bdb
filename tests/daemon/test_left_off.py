"""A gateway that was taken off because of its tools goes on again once they were looked at, and never by forgetting."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from sqlite3 import connect
from typing import TYPE_CHECKING

from watching import QUICK, UP, Upstreams, eventually, manifest, watched

from reconciler.core.observation import Tool
from reconciler.core.toollock import write_lock

if TYPE_CHECKING:
    from pathlib import Path

    from watching import Watched


def tool(name: str) -> Tool:
    definition = f'{{"inputSchema":{{"type":"object"}},"name":"{name}"}}'
    return Tool(name, sha256(definition.encode()).hexdigest(), definition)


REVIEWED = replace(UP, tools=(tool("charge"),))
TURNED = replace(UP, tools=(tool("charge"), tool("drain")))


def is_on(daemon: Watched) -> bool:
    with closing(connect(daemon.store)) as database:
        ((on,),) = database.execute("SELECT enabled FROM gateways")
        return bool(on)


def test_a_daemon_that_has_forgotten_why_looks_first_even_where_it_looks_at_nothing_else(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.yaml").write_text(manifest("a", more="  verify: {onToolsChange: disable}\n"))
    (tree / "a.tools.json").write_bytes(write_lock(REVIEWED.tools))
    upstreams = Upstreams(answer=REVIEWED)
    with watched(tree, upstreams=upstreams, rhythm=replace(QUICK, verify_seconds=0.3)) as daemon:
        eventually(lambda: daemon.rows() and is_on(daemon))
        upstreams.answer = TURNED
        eventually(lambda: not is_on(daemon))
    for verify in (True, False):
        daemon.change("DELETE FROM reconciler_conditions")
        upstreams.looks.clear()
        with watched(tree, upstreams=upstreams, rhythm=replace(QUICK, verify=verify)) as daemon:
            eventually(lambda: upstreams.looks)
            eventually(lambda: any("drain appeared" in why for _, why in daemon.board.targets()["default"].held))
            assert not is_on(daemon)
    with watched(tree, upstreams=upstreams, rhythm=replace(QUICK, verify=False)) as daemon:
        upstreams.answer = REVIEWED
        eventually(lambda: is_on(daemon))
