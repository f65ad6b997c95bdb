"""The harness on a tiny input: that it measures every job, keeps and compares figures, and fills a page. No timing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    Bench = Callable[..., str]

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = """# Figures

<!-- measured: bars -->
yesterday's
<!-- end -->

<!-- measured: growth -->
<!-- end -->

<!-- measured: not-known -->
kept
<!-- end -->
"""


@pytest.fixture(scope="module")
def bench() -> Bench:
    def run(*words: str) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", "benchmarks", *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    return run


@pytest.fixture(scope="module")
def saved(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The figures of a small run, with what it printed beside them."""
    file = tmp_path_factory.mktemp("bench") / "figures.json"
    printed = bench("--sizes", "5", "--rounds", "1", "--only", "start", "tree", "--json", str(file))
    file.with_suffix(".txt").write_text(printed)
    return file


def document(file: Path) -> Any:
    return json.loads(file.read_text())


def test_each_job_is_measured_at_each_size_and_judged_where_there_is_a_bar(saved: Path) -> None:
    sizes: dict[str, list[int]] = {}
    for each in document(saved)["measures"]:
        sizes.setdefault(each["job"], []).append(each["size"])
        assert all(wall > 0 and cpu >= 0 and megabytes > 0 for wall, cpu, megabytes in each["samples"])
    for job in (
        "validate, cold",
        "first apply, signed, SQLite",
        "plan, nothing changed, SQLite",
        "libyaml's events (floor)",
    ):
        assert sizes[job] == [5]
    printed = saved.with_suffix(".txt").read_text()
    assert "under 60 ms" in printed
    assert "libyaml's events (floor)" in printed


def test_a_peer_is_measured_or_said_to_be_missing(saved: Path) -> None:
    found = document(saved)
    measured = {each["job"] for each in found["measures"]}
    for peer in ("check-jsonschema", "yamllint", "ajv-cli", "kubeconform", "octoDNS"):
        assert any(job.startswith(peer) for job in measured | set(found["missing"]))
    printed = saved.with_suffix(".txt").read_text()
    assert all(f"not here: {job}; to get it: {how}" in printed for job, how in found["missing"].items())


def test_a_run_of_one_part_keeps_the_figures_of_the_others_and_compares(bench: Bench, saved: Path) -> None:
    file = saved.with_name("again.json")
    file.write_bytes(saved.read_bytes())
    printed = bench("--only", "start", "--sizes", "5", "--rounds", "1", "--json", str(file), "--compare", str(saved))
    again, before = document(file), document(saved)
    assert [each["job"] for each in again["measures"]] == [each["job"] for each in before["measures"]]
    assert f"against {saved}" in printed


def test_a_page_is_filled_between_its_marks_and_a_picture_drawn_beside_it(bench: Bench, saved: Path) -> None:
    page = saved.with_name("page.md")
    page.write_text(PAGE)
    for _ in range(2):
        bench("--json", str(saved), "--write", str(page))
    written = page.read_text()
    assert "yesterday" not in written
    assert written.count("| reconciler --help | 1 |") == 1
    assert "| validate, cold |" in written
    assert "kept" in written
    picture = ET.fromstring((page.parent / "pictures/growth.svg").read_text())  # noqa: S314 - it is our own
    assert "validate, cold" in "".join(picture.itertext())


def test_a_profile_says_which_rooms_and_lines_take_the_time(bench: Bench, saved: Path) -> None:
    printed = bench("--profile", "validate", "--sizes", "5", "--json", str(saved))
    assert "validate, size 5" in printed
    profile = document(saved)["profiles"]["validate"]
    assert profile["seconds"] > 0
    assert sum(share for _, share in profile["rooms"]) == pytest.approx(100, abs=5)
    assert "importing" in [room for room, _ in profile["rooms"]]
