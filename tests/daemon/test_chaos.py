"""After everything went wrong at once, the store is what git says, and nothing was lost.

`make chaos` does it for longer.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from chaos import GATEWAYS, chaos

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = float(os.environ.get("CHAOS_SECONDS", "15"))
SEED = int(os.environ.get("CHAOS_SEED", "7"))


@pytest.mark.timeout(SECONDS + 120)
def test_chaos_ends_with_the_store_as_git_says(tmp_path: Path) -> None:
    world = chaos(tmp_path, SECONDS, SEED)
    assert world.rows() == {f"g{number}": f"final {number}" for number in range(GATEWAYS)}
    with closing(sqlite3.connect(world.store)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (unstamped,) = database.execute(
            "SELECT count(*) FROM gateways LEFT JOIN reconciler_stamps ON gateway_id = id WHERE owner IS NULL"
        ).fetchone()
        assert unstamped == 0
    assert "this should not happen" not in (tmp_path / "log").read_text()
