"""The bars: what each job may cost, and how many times as fast as a peer it has to be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from benchmarks import jobs, peers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.measuring import Measure


class Kind(Enum):
    """What is limited; the text says it with the limit and the other job in place."""

    SECONDS = "under {limit:g} s"
    MILLISECONDS = "under {limit:g} ms"
    MEGABYTES = "under {limit:g} MB"
    TIMES_AS_FAST = "{limit:g} times as fast as {against}"
    TIMES_THE_COST = "at most {limit:g} times {against}"


@dataclass(frozen=True, slots=True)
class Bar:
    """One limit for one job at one size; ratios are between medians by the clock of the same run."""

    job: str
    size: int
    kind: Kind
    limit: float
    against: str = ""

    def __str__(self) -> str:
        against = self.against.partition(" (")[0]
        if self.kind is Kind.TIMES_THE_COST and self.limit == 1:
            return f"no slower than {against}"
        return self.kind.value.format(limit=self.limit, against=against)

    def judge(self, measures: Sequence[Measure]) -> Verdict | None:
        """Return what was found, or None where the job or the other one was not measured."""
        ours = next((each for each in measures if (each.job, each.size) == (self.job, self.size)), None)
        if ours is None:
            return None
        if not self.against:
            return Verdict(self, _ALONE[self.kind](ours))
        with_ours = (self.against, ours.size, ours.run)
        other = next((each for each in measures if (each.job, each.size, each.run) == with_ours), None)
        if other is None:
            return None
        faster = self.kind is Kind.TIMES_AS_FAST
        return Verdict(self, other.wall / ours.wall if faster else ours.wall / other.wall)


_ALONE: Final[dict[Kind, Callable[[Measure], float]]] = {
    Kind.SECONDS: lambda each: each.wall,
    Kind.MILLISECONDS: lambda each: each.wall * 1000,
    Kind.MEGABYTES: lambda each: each.megabytes,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of a bar, in its own unit."""

    bar: Bar
    found: float

    @property
    def met(self) -> bool:
        """Whether it holds."""
        if self.bar.kind is Kind.TIMES_AS_FAST:
            return self.found >= self.bar.limit
        return self.found <= self.bar.limit


BARS: Final = (
    Bar(jobs.HELP, 1, Kind.MILLISECONDS, 60),
    Bar(jobs.ONE_FILE, 1, Kind.MILLISECONDS, 150),
    Bar(jobs.VALIDATE, 1_000, Kind.SECONDS, 0.35),
    Bar(jobs.PLAN, 1_000, Kind.SECONDS, 0.15),
    Bar(jobs.VALIDATE, 10_000, Kind.SECONDS, 1.0),
    Bar(jobs.VALIDATE, 10_000, Kind.MEGABYTES, 110),
    Bar(jobs.VALIDATE, 10_000, Kind.TIMES_AS_FAST, 20, peers.CHECK_JSONSCHEMA),
    Bar(jobs.VALIDATE, 10_000, Kind.TIMES_THE_COST, 1, peers.KUBECONFORM),
    Bar(jobs.APPLY, 10_000, Kind.SECONDS, 1.8),
    Bar(jobs.APPLY, 10_000, Kind.TIMES_THE_COST, 2, jobs.VALIDATE),
    Bar(jobs.PLAN, 10_000, Kind.SECONDS, 0.4),
    Bar(jobs.PLAN, 10_000, Kind.TIMES_AS_FAST, 100, peers.OCTODNS),
    Bar(jobs.APPLY_POSTGRESQL, 10_000, Kind.SECONDS, 2.4),
    Bar(jobs.PLAN_POSTGRESQL, 100_000, Kind.SECONDS, 5),
    Bar(jobs.PLAN_POSTGRESQL, 100_000, Kind.MEGABYTES, 600),
    Bar(jobs.SAVE, 10_000, Kind.MILLISECONDS, 65),
    Bar(jobs.SAVE_AT_ONCE, 10_000, Kind.MILLISECONDS, 10),
    Bar(jobs.VERIFY, 1_000, Kind.SECONDS, 4),
    Bar(jobs.VERIFY, 1_000, Kind.MEGABYTES, 80),
    Bar(jobs.VERIFY, 1_000, Kind.TIMES_THE_COST, 3, jobs.HANDSHAKES),
)


def judge(measure: Measure, measures: Sequence[Measure]) -> list[Verdict]:
    """Return the verdicts on one measure."""
    about = [bar for bar in BARS if (bar.job, bar.size) == (measure.job, measure.size)]
    return [verdict for bar in about if (verdict := bar.judge(measures))]
