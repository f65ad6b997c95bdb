"""How cost grows with the number of gateways: a picture with logarithmic axes, drawn as SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

from benchmarks import floors, jobs, peers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.measuring import Measure

LINES: Final = {
    peers.CHECK_JSONSCHEMA: "#9a9a9a",
    peers.OCTODNS: "#9a9a9a",
    jobs.APPLY: "#c0392b",
    jobs.VALIDATE: "#1f5fa8",
    jobs.PLAN: "#1e8449",
    floors.READ: "#9a9a9a",
}
"""What is drawn, and in which colour; grey is what is not ours."""

_WIDTH, _HEIGHT = 860, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 290, 30, 50
_FONT = 'font-family="system-ui, sans-serif" font-size="13"'
_LABEL_GAP = 16


@dataclass(frozen=True, slots=True)
class Axes:
    """Decades of both axes, and where a point lies."""

    sizes: tuple[int, int]
    times: tuple[int, int]

    @classmethod
    def around(cls, measures: Sequence[Measure]) -> Axes:
        """Return the decades that hold every point."""
        sizes = [math.log10(each.size) for each in measures]
        times = [math.log10(each.wall) for each in measures]
        return cls(
            (math.floor(min(sizes)), max(math.ceil(max(sizes)), math.floor(min(sizes)) + 1)),
            (math.floor(min(times)), math.ceil(max(times))),
        )

    def x(self, size: float) -> float:
        """Return the horizontal place of a number of gateways."""
        low, high = self.sizes
        return _LEFT + (math.log10(size) - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, seconds: float) -> float:
        """Return the vertical place of a time."""
        low, high = self.times
        return _HEIGHT - _BOTTOM - (math.log10(seconds) - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)


def draw(measures: Sequence[Measure]) -> str:
    """Return the picture of what was measured of `LINES`."""
    shown = [each for each in measures if each.job in LINES]
    axes = Axes.around(shown)
    lines = [
        sorted((each for each in shown if each.job == job), key=lambda each: each.size)
        for job in LINES
        if any(each.job == job for each in shown)
    ]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_FONT} role="img">',
        "<title>Seconds by number of gateways, both axes logarithmic</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        *_grid(axes),
        *(part for line in lines for part in _line(axes, line)),
        *_labels(axes, lines),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _grid(axes: Axes) -> Iterator[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for decade in range(axes.sizes[0], axes.sizes[1] + 1):
        x = axes.x(10.0**decade)
        yield f'<path d="M{x:.1f} {_TOP}V{bottom}" stroke="#e3e3e3"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle" fill="#444">{10**decade:,}</text>'
    for decade in range(axes.times[0], axes.times[1] + 1):
        y = axes.y(10.0**decade)
        yield f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#e3e3e3"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#444">{10.0**decade:g} s</text>'
    yield f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 8}" text-anchor="middle" fill="#444">gateways</text>'


def _line(axes: Axes, line: Sequence[Measure]) -> Iterator[str]:
    colour = LINES[line[0].job]
    points = [(axes.x(each.size), axes.y(each.wall)) for each in line]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points)


def _labels(axes: Axes, lines: Sequence[Sequence[Measure]]) -> Iterator[str]:
    """Name each line at its end: short ones above it, the others beside it, and none over another."""
    longest = max(line[-1].size for line in lines)
    ends = sorted((line[-1] for line in lines), key=lambda end: axes.y(end.wall))
    last = -math.inf
    for end in (each for each in ends if each.size == longest):
        last = max(axes.y(end.wall) + 4, last + _LABEL_GAP)
        yield _label(end, axes.x(end.size) + 8, last, "start")
    last = math.inf
    for end in (each for each in reversed(ends) if each.size < longest):
        last = min(axes.y(end.wall) - 10, last - _LABEL_GAP)
        yield _label(end, axes.x(end.size), last, "end")


def _label(end: Measure, x: float, y: float, anchor: str) -> str:
    colour = LINES[end.job]
    halo = 'paint-order="stroke" stroke="white" stroke-width="4"'
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" {halo}>{escape(end.job)}</text>'
