"""Writes what was measured into a page, between marks, and the picture beside it; the words around are people's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from benchmarks import growth, jobs, profiles, report
from benchmarks.floors import READ

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.report import Report

PICTURE = "pictures/growth.svg"
_MARK = re.compile(r"(<!-- measured: (?P<name>\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def write(page: Path, found: Report) -> None:
    """Fill every mark of the page that something was measured for, and draw the picture."""
    filled = blocks(found)
    text = page.read_text()
    page.write_text(_MARK.sub(lambda mark: _filled(mark, filled), text))
    picture = page.parent / PICTURE
    picture.parent.mkdir(exist_ok=True)
    picture.write_text(growth.draw(found.measures))


def _filled(mark: re.Match[str], filled: Mapping[str, str]) -> str:
    block = filled.get(mark["name"])
    return f"{mark[1]}\n{block}\n\n{mark[3]}" if block else mark[0]


def blocks(found: Report) -> dict[str, str]:
    """Return what stands between the marks, by their names."""
    headings = report.HEADINGS
    return {
        "machine": _machine(found),
        "bars": report.markdown(headings, report.rows(found, lambda _, verdicts: bool(verdicts))),
        "figures": report.markdown(headings[:7], [row[:7] for row in report.rows(found) if row[0]]),
        "growth": _growth(found),
        "missing": _missing(found),
        **{f"profile-{name}": _profile(each) for name, each in found.profiles.items()},
    }


def _machine(found: Report) -> str:
    lines = [
        f"| {run} | {about['machine']} | {about['calibration']['python_ms']:.0f} ms"
        f" | {about['calibration']['ed25519_sign_us']:.0f} µs | {about['load']} |"
        for run, about in sorted(found.runs.items())
    ]
    headings = ["run", "machine", "a million turns of a Python loop", "one Ed25519 signature", "other work (load)"]
    return "\n".join([report.markdown(headings, []), *lines])


def _growth(found: Report) -> str:
    """Return microseconds for each gateway, by size."""
    sizes = sorted({each.size for each in found.measures if each.job == jobs.VALIDATE})
    by = {(each.job, each.size): each.wall for each in found.measures}
    names = (READ, jobs.VALIDATE, jobs.APPLY, jobs.PLAN)
    table = [[job, *(_each(by.get((job, size)), size) for size in sizes)] for job in names]
    return report.markdown(["µs for each gateway", *(f"{size:,}" for size in sizes)], table)


def _each(wall: float | None, size: int) -> str:
    return f"{wall / size * 1e6:,.0f}" if wall else ""


def _missing(found: Report) -> str:
    if not found.missing:
        return "Every peer was there."
    return "\n".join(f"- Not here: {job}. To get it: `{how}`" for job, how in found.missing.items())


def _profile(found: Mapping[str, Any]) -> str:
    table = [[f"{share:.0f} %", f"`{function}`", _code(line)] for share, function, line in found["functions"]]
    by_room = f"{found['seconds']:.2f} s of processor time at size {found['size']:,}: {profiles.rooms(found['rooms'])}."
    return f"{by_room}\n\n{report.markdown(['share', 'where', 'its dearest line'], table)}"


def _code(line: str) -> str:
    return f"`{line.replace('|', chr(92) + '|')}`" if line else ""
