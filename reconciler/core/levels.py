"""What a repository makes of the rules: their levels, and what single gateways are excused from, why and until when.

A rule that is an error stays one: what it finds is left out of the desired state, and calling that a warning would let
it be pruned. Everything else may be set to any level, or off. An excuse ends by itself, and says so when it does.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.problems import Problem, Rule, Severity, in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from reconciler.core.problems import Location

UNKNOWN_RULE = Rule("unknown-rule", Severity.ERROR, "A level or an excuse for a rule that does not exist does nothing.")
FIXED_RULE = Rule(
    "rule-not-adjustable",
    Severity.ERROR,
    "What an error finds is left out of the desired state; calling it a warning would let it be pruned.",
)
NO_SUCH_DAY = Rule("no-such-day", Severity.ERROR, "An excuse without an end is never looked at again.")
DUPLICATE_SUPPRESSION = Rule(
    "duplicate-suppression", Severity.ERROR, "Of two excuses for one thing nobody knows which one holds."
)

SUPPRESSION_ENDED = Rule(
    "suppression-ended", Severity.WARNING, "What a gateway was excused from until a day counts again after that day."
)
SUPPRESSION_UNUSED = Rule(
    "suppression-unused", Severity.WARNING, "An excuse that nothing needs any more would hide the next real problem."
)


_OFF: Final = "off"


@dataclass(frozen=True, slots=True)
class Suppression:
    """One gateway's excuse from one rule, up to and including a day (UTC)."""

    rule: str
    gateway: str
    reason: str
    until: date
    location: Location


@dataclass(frozen=True, slots=True)
class Suppressed:
    """A problem that does not count, and the excuses that cover every gateway it is about."""

    problem: Problem
    suppressions: tuple[Suppression, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """The problems that count, at their levels, and those that do not."""

    problems: tuple[Problem, ...]
    suppressed: tuple[Suppressed, ...] = ()


@dataclass(frozen=True, slots=True)
class Levels:
    """The levels of a repository. A rule that is not named keeps its own; None turns it off."""

    by_rule: Mapping[str, Severity | None] = field(default_factory=dict)
    suppressions: Sequence[Suppression] = ()

    def judge(self, problems: Iterable[Problem], today: date, *, whole: bool = True) -> Judged:
        """Return the problems as they count on `today` (UTC). Unused excuses are found only where `whole` is true."""
        excuses = _Excuses(self.suppressions, today)
        counted, suppressed = [], []
        for problem in problems:
            covering = excuses.covering(problem)
            if covering:
                suppressed.append(Suppressed(problem, covering))
            elif (leveled := self._leveled(problem)) is not None:
                counted.append(leveled)
        counted.extend(filter(None, map(self._leveled, excuses.problems(whole=whole))))
        return Judged(in_order(counted), tuple(suppressed))

    def _leveled(self, problem: Problem) -> Problem | None:
        if problem.severity is Severity.ERROR or problem.code not in self.by_rule:
            return problem
        level = self.by_rule[problem.code]
        return replace(problem, severity=level) if level is not None else None


class _Excuses:
    """The suppressions of one look at a tree, and which of them were needed."""

    def __init__(self, suppressions: Iterable[Suppression], today: date) -> None:
        self._by_rule: defaultdict[str, dict[str, Suppression]] = defaultdict(dict)
        self._ended: list[Suppression] = []
        self._used: set[Suppression] = set()
        for each in suppressions:
            if each.until < today:
                self._ended.append(each)
            else:
                self._by_rule[each.rule][each.gateway] = each

    def covering(self, problem: Problem) -> tuple[Suppression, ...]:
        """Return the excuses for a problem, if they cover every gateway that it is about."""
        excused = self._by_rule.get(problem.code)
        if excused is None or problem.severity is Severity.ERROR or not problem.gateways:
            return ()
        found = tuple(excused[name] for name in dict.fromkeys(problem.gateways) if name in excused)
        self._used.update(found)
        return found if len(found) == len(set(problem.gateways)) else ()

    def problems(self, *, whole: bool) -> Iterator[Problem]:
        for each in self._ended:
            message = f"`{each.gateway}` was excused from {each.rule} until {each.until}: {each.reason}"
            fix = "solve the problem and remove this suppression, or give a later day and a reason"
            yield SUPPRESSION_ENDED.at(each.location, message, fix=fix, gateways=(each.gateway,))
        active = (each for excused in self._by_rule.values() for each in excused.values())
        for each in active if whole else ():
            if each not in self._used:
                message = f"`{each.gateway}` is excused from {each.rule}, and has no such problem"
                yield SUPPRESSION_UNUSED.at(each.location, message, fix="remove it", gateways=(each.gateway,))


def read_levels(
    spec: Mapping[str, Any], known: Mapping[str, Rule], place: Callable[..., Location]
) -> tuple[Levels, tuple[Problem, ...]]:
    """Return the levels that the spec of a config file sets, and what is wrong with them.

    `known` are the rules by code; `place` gives the location of a JSON Pointer in the config file, or
    with `key` that of its key.
    """
    problems: list[Problem] = []
    for code in spec.get("rules", {}):
        problems.extend(_unadjustable(code, known, place(f"/spec/rules/{code}", key=True)))
    suppressions: dict[tuple[str, str], Suppression] = {}
    for index, each in enumerate(spec.get("suppressions", ())):
        here = f"/spec/suppressions/{index}"
        problems.extend(_unadjustable(each["rule"], known, place(f"{here}/rule")))
        until = _day(each["until"])
        if until is None:
            message = f"{each['until']} is no day of the calendar"
            problems.append(NO_SUCH_DAY.at(place(f"{here}/until"), message, fix="write it as in 2027-03-31"))
            continue
        read = Suppression(each["rule"], each["gateway"], each["reason"], until, place(here))
        if suppressions.setdefault((read.rule, read.gateway), read) is not read:
            message = f"`{read.gateway}` is excused from {read.rule} twice"
            problems.append(DUPLICATE_SUPPRESSION.at(read.location, message, fix="keep one of the two"))
    by_rule = {code: None if level == _OFF else Severity(level) for code, level in spec.get("rules", {}).items()}
    return Levels(by_rule, tuple(suppressions.values())), in_order(problems)


def _unadjustable(code: str, known: Mapping[str, Rule], where: Location) -> Iterator[Problem]:
    if code not in known:
        near = difflib.get_close_matches(code, known, n=1)
        fix = f"did you mean `{near[0]}`?" if near else "docs/problems.md lists the rules"
        yield UNKNOWN_RULE.at(where, f"there is no rule `{code}`", fix=fix)
    elif known[code].severity is Severity.ERROR:
        yield FIXED_RULE.at(where, f"`{code}` is an error, and stays one", fix="solve the problem instead")


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
