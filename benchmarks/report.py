"""What was measured, as a document to keep and as tables to read: figures, bars, and what changed since a saved run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks import floors, jobs
from benchmarks.bars import Kind, judge
from benchmarks.measuring import Measure, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from benchmarks.bars import Verdict

HEADINGS = ("job", "size", "wall s", "from - to", "CPU s", "MB", "x floor", "bar", "found", "met")
CHANGES = ("job", "size", "wall s then", "now", "CPU s then", "now", "CPU now / then, by calibration")

Row = list[str]


@dataclass(slots=True)
class Report:
    """Everything that runs of the harness have found. `runs` says of each when and where it was."""

    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    measures: list[Measure] = field(default_factory=list)
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Report:
        """Read a saved one."""
        document = json.loads(file.read_text())
        measures = [
            Measure(each["job"], each["size"], tuple(Sample(*values) for values in each["samples"]), each["run"])
            for each in document["measures"]
        ]
        return cls(document["runs"], document["missing"], measures, document["profiles"])

    def write(self, file: Path) -> None:
        """Save it."""
        measures = [
            {
                "job": each.job,
                "size": each.size,
                "run": each.run,
                "samples": [[round(x.wall, 4), round(x.cpu, 4), x.megabytes] for x in each.samples],
            }
            for each in self.measures
        ]
        document = {"runs": self.runs, "missing": self.missing, "measures": measures, "profiles": self.profiles}
        file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")

    def add(self, found: Iterable[Measure]) -> None:
        """Take figures in, in place of older ones of the same job and size."""
        held = {(each.job, each.size): each for each in self.measures}
        self.measures = list((held | {(each.job, each.size): each for each in found}).values())
        used = {each.run for each in self.measures}
        self.runs = {run: about for run, about in self.runs.items() if run in used}


def rows(report: Report, wanted: Callable[[Measure, list[Verdict]], bool] = lambda *_: True) -> list[Row]:
    """Return the lines below `HEADINGS`: one for each measure, and further ones for its further bars."""
    found: list[Row] = []
    for measure in report.measures:
        verdicts = judge(measure, report.measures)
        if not wanted(measure, verdicts):
            continue
        bars = [_bar(verdict) for verdict in verdicts] or [["", "", ""]]
        found.append([*_figures(measure, report.measures), *bars[0]])
        found += [[""] * 7 + bar for bar in bars[1:]]
    return found


def changes(now: Report, then: Report) -> list[Row]:
    """Return the lines below `CHANGES`. Processor time is scaled by how long both machines take for the same loop."""
    before = {(each.job, each.size): each for each in then.measures}
    return [
        _change(each, old, _speed(now, each) / _speed(then, old))
        for each in now.measures
        if (old := before.get((each.job, each.size)))
    ]


def text(headings: Sequence[str], lines: Sequence[Row]) -> str:
    """Return a table for a terminal."""
    table = [list(headings), *lines]
    widths = [max(len(row[column]) for row in table) for column in range(len(headings))]
    return "\n".join("  ".join(_aligned(row, widths)).rstrip() for row in table)


def markdown(headings: Sequence[str], lines: Sequence[Row]) -> str:
    """Return a table for a page."""
    table = [list(headings), ["---"] * len(headings), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in table)


def _figures(measure: Measure, measures: Sequence[Measure]) -> Row:
    low, high = measure.spread
    beside = (jobs.FLOORS.get(measure.job, floors.READ), measure.size, measure.run)
    floor = next((each for each in measures if (each.job, each.size, each.run) == beside), None)
    return [
        measure.job,
        f"{measure.size:,}",
        seconds(measure.wall),
        f"{seconds(low)} - {seconds(high)}" if len(measure.samples) > 1 else "once",
        seconds(measure.cpu),
        str(measure.megabytes),
        f"{measure.wall / floor.wall:.1f}" if floor else "",
    ]


def _bar(verdict: Verdict) -> Row:
    found = {Kind.SECONDS: seconds(verdict.found), Kind.MEGABYTES: f"{verdict.found:.0f}"}
    short = found.get(verdict.bar.kind, f"{verdict.found:.2f}" if verdict.found < 10 else f"{verdict.found:.0f}")
    return [str(verdict.bar), short, "yes" if verdict.met else "no"]


def _change(now: Measure, then: Measure, speed: float) -> Row:
    ratio = now.cpu / then.cpu / speed if then.cpu else 0
    return [now.job, f"{now.size:,}", *map(seconds, (then.wall, now.wall, then.cpu, now.cpu)), f"{ratio:.2f}"]


def _speed(report: Report, measure: Measure) -> float:
    return float(report.runs[measure.run]["calibration"]["python_ms"])


def seconds(value: float) -> str:
    """Return seconds with three digits that mean something."""
    return (
        f"{value:.4f}"
        if value < 0.1
        else f"{value:.3f}"
        if value < 1
        else f"{value:.2f}"
        if value < 100
        else f"{value:.0f}"
    )


def _aligned(row: Row, widths: Sequence[int]) -> Iterable[str]:
    for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
        yield cell.ljust(width) if column in (0, 7) else cell.rjust(width)
