"""What the jobs cost, as ratios against floors and peers measured in the same run.

Input is generated from a seed. Each command is a process of its own, as a user runs it; candidates take turns, after
one round for warming up; medians are shown with the shortest and the longest run, and the peak memory of the largest
process. Seconds differ between machines, ratios hardly do: bars that are ratios are the ones to believe.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import ssl
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import floors, page, peers, profiles, report
from benchmarks.jobs import PARTS, Ground
from benchmarks.report import Report

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(words: Sequence[str] | None = None) -> None:
    """Measure, compare, show and write down what was asked for."""
    asked = _arguments(words)
    saved = Path(asked.json) if asked.json else None
    known = (
        Report.read(saved) if saved and saved.exists() and (asked.only or asked.profile or asked.write) else Report()
    )
    if not asked.write:
        _measure(asked, known, saved)
    if asked.compare:
        print(f"\nagainst {asked.compare}")
        print(report.text(report.CHANGES, report.changes(known, Report.read(Path(asked.compare)))))
    if asked.write:
        page.write(Path(asked.write), known)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parts = ", ".join(f"{name} ({part.about})" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, epilog=f"Parts: {parts}.")
    parser.add_argument("--sizes", type=_sizes, default=[1000, 10000], metavar="N,N", help="numbers of gateways")
    parser.add_argument("--rounds", type=int, default=5, help="runs that count, of each candidate")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help="these parts alone")
    parser.add_argument("--profile", nargs="+", choices=[*profiles.PROFILES, "all"], metavar="JOB", help=_PROFILE)
    parser.add_argument("--json", metavar="FILE", help="keep the figures here; with --only, beside those it has")
    parser.add_argument("--compare", metavar="FILE", help="show what changed since a saved run")
    parser.add_argument("--write", metavar="PAGE", help="measure nothing: fill this page from the figures in --json")
    asked = parser.parse_args(words)
    if asked.write and not asked.json:
        parser.error("--write needs --json, the figures to write")
    return asked


_PROFILE = f"measure nothing: show where the time goes, at the largest size ({', '.join(profiles.PROFILES)}, all)"


def _sizes(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def _measure(asked: argparse.Namespace, found: Report, saved: Path | None) -> None:
    """Measure or profile, part by part; what is found is kept after each of them, whatever becomes of the next."""
    with tempfile.TemporaryDirectory() as directory:
        ground = Ground.at(Path(directory), asked.rounds)
        if asked.profile:
            _profile(asked, ground, found, saved)
            return
        run = _begin(found)
        for name in asked.only or PARTS:
            for size in PARTS[name].sizes(asked.sizes):
                print(f"measuring {name}, {size:,}", file=sys.stderr)
                found.add(replace(each, run=run) for each in PARTS[name].measure(ground, size))
                if saved:
                    found.write(saved)
    about = found.runs[run]
    print(f"{about['machine']}; {about['calibration']}; {about['load']} other programs were running when it began")
    for job, how in found.missing.items():
        print(f"not here: {job}; to get it: {how}")
    print(report.text(report.HEADINGS, report.rows(found)))


def _begin(found: Report) -> str:
    """Note when and where this run is, and return its name."""
    run = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")  # noqa: TID251 - figures have a date
    found.missing = peers.missing()
    load = round(os.getloadavg()[0], 1)
    found.runs[run] = {"machine": _machine(), "load": load, "calibration": floors.calibrate()}
    return run


def _machine() -> str:
    return (
        f"{os.cpu_count()} cores {platform.machine()}, {platform.system()}, Python {platform.python_version()}, "
        f"{' '.join(ssl.OPENSSL_VERSION.split()[:2])}, SQLite {sqlite3.sqlite_version}"
    )


def _profile(asked: argparse.Namespace, ground: Ground, found: Report, saved: Path | None) -> None:
    for name in profiles.PROFILES if "all" in asked.profile else asked.profile:
        found.profiles[name] = profiles.profile(name, ground, max(asked.sizes))
        print(profiles.text(name, found.profiles[name]), flush=True)
        if saved:
            found.write(saved)


if __name__ == "__main__":
    main()
