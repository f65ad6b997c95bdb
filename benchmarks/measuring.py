"""How something is measured: processes of their own, in turns, warmed up, repeated; medians with their spread.

Candidates run one after another in each round, so that a machine that becomes slower becomes slower for all of them.
The first round warms caches and does not count, except for what takes so long that it is run once.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_LAUNCH: Final = str(Path(__file__).with_name("launch.py"))

ONCE_SECONDS: Final = 10.0
"""What takes longer than this is not repeated: its spread is small beside its length."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: seconds by the clock, seconds of processor time with its children, peak memory of its largest process.

    Memory is 0 where there is no process whose memory says anything.
    """

    wall: float
    cpu: float
    megabytes: int


@dataclass(frozen=True, slots=True)
class Measure:
    """The runs of one job at one size. `run` names the run of the harness: only figures of one run are compared."""

    job: str
    size: int
    samples: tuple[Sample, ...]
    run: str = ""

    @property
    def wall(self) -> float:
        """Median seconds by the clock."""
        return statistics.median(each.wall for each in self.samples)

    @property
    def cpu(self) -> float:
        """Median seconds of processor time."""
        return statistics.median(each.cpu for each in self.samples)

    @property
    def megabytes(self) -> int:
        """Return the most memory that any run took."""
        return max(each.megabytes for each in self.samples)

    @property
    def spread(self) -> tuple[float, float]:
        """Shortest and longest run by the clock."""
        walls = [each.wall for each in self.samples]
        return min(walls), max(walls)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something to measure, under the name of its job."""

    job: str
    run: Callable[[], Sample]


def in_turns(candidates: Sequence[Candidate], size: int, rounds: int) -> list[Measure]:
    """Run each candidate once in every round, after one round for warming up."""
    samples: dict[str, list[Sample]] = {each.job: [] for each in candidates}
    long: set[str] = set()
    for number in range(rounds + 1):
        for candidate in candidates:
            if candidate.job in long:
                continue
            sample = candidate.run()
            if sample.wall > ONCE_SECONDS:
                long.add(candidate.job)
            if number or candidate.job in long:
                samples[candidate.job].append(sample)
    return [Measure(job, size, tuple(found)) for job, found in samples.items()]


def command(words: Sequence[str], environment: Mapping[str, str]) -> tuple[Sample, str]:
    """Run one command, and return what it took and what it printed.

    Raises SystemExit with what the command said when it fails.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error, tempfile.NamedTemporaryFile() as took:
        launched = [sys.executable, "-I", "-S", _LAUNCH, took.name, *words]
        code = subprocess.run(launched, env=dict(environment), stdout=out, stderr=error, check=False).returncode
        out.seek(0)
        error.seek(0)
        said = out.read().decode(errors="replace")
        if code:
            said = (said + error.read().decode(errors="replace"))[-3000:]
            raise SystemExit(f"{' '.join(words)[:200]} ended with {code}:\n{said}")
        return Sample(*json.loads(took.read())), said
