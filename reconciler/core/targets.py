"""Which targets take which gateways: what no target takes, which target takes nothing, and labels that look mistyped.

Gateways with the same place and labels are one group, and everything here looks at groups: what it costs follows how
many different ones there are. A target decides by two things only, where a manifest stands and what labels it has.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.core.problems import Problem, Rule, Severity
from reconciler.core.strict_yaml import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    from reconciler.core.lint import TargetScope
    from reconciler.core.model import DesiredGateway

MATCHES_NOTHING = Rule(
    "target-matches-nothing",
    Severity.WARNING,
    "A target whose path and selector match no gateway is mistyped or left over, and with pruning it empties a store.",
)
IN_NO_TARGET = Rule(
    "gateway-in-no-target",
    Severity.INFO,
    "A gateway that no target takes is in git and in no store, and nobody sees it.",
    "/metadata/labels",
)
LABEL_NEAR_MISS = Rule(
    "label-near-miss",
    Severity.WARNING,
    "A label that only one gateway has, and that is nearly one that many have, is mistyped: no selector finds it.",
)

_SHOWN: Final = 5
_COMPARED: Final = 50
_COMMON: Final = 3
_NEAR: Final = 0.85
_WORTH_COMPARING: Final = 5
_PARTS: Final = re.compile(r"[-._/]")
_DIGITS: Final = re.compile(r"\d+")


Labels = tuple[tuple[str, str], ...]


class Group(NamedTuple):
    """All that a target can tell gateways apart by. `place` is their directory, or their file if a target names it."""

    place: str
    labels: Labels

    def stands_below(self, path: str) -> bool:
        """Return whether it stands at or below a target's path."""
        return path in (".", self.place) or self.place.startswith(f"{path}/")


class Membership:
    """The gateways of a tree in groups, and which targets take which group."""

    def __init__(self, gateways: Iterable[DesiredGateway], targets: Sequence[TargetScope]) -> None:
        """Sort the gateways into groups; within a group they keep their order."""
        self.targets = targets
        self._paths = {target.path for target in targets}
        groups: defaultdict[tuple[str, Labels], list[DesiredGateway]] = defaultdict(list)
        for wanted in gateways:
            groups[self._place(wanted), wanted.labels].append(wanted)
        self.groups = {Group(*key): members for key, members in groups.items()}
        self._takers = {group: _takers(group, targets) for group in self.groups}

    def taken(self) -> Iterator[tuple[TargetScope, list[DesiredGateway]]]:
        """Yield each target with the gateways that it takes."""
        taken: list[list[DesiredGateway]] = [[] for _ in self.targets]
        for group, members in self.groups.items():
            for index in self._takers[group]:
                taken[index].extend(members)
        return zip(self.targets, taken, strict=True)

    def untaken(self) -> Iterator[tuple[Group, list[DesiredGateway]]]:
        """Yield the groups that no target takes."""
        return ((group, members) for group, members in self.groups.items() if not self._takers[group])

    def meet(self, one: DesiredGateway, other: DesiredGateway) -> bool:
        """Return whether two gateways come into one store. Without targets there is one store, for all of them."""
        return not self.targets or not self._takers_of(one).isdisjoint(self._takers_of(other))

    def _takers_of(self, wanted: DesiredGateway) -> frozenset[int]:
        return self._takers[Group(self._place(wanted), wanted.labels)]

    def _place(self, wanted: DesiredGateway) -> str:
        file = wanted.location.file
        return file if file in self._paths else file.rpartition("/")[0]


def _takers(group: Group, targets: Sequence[TargetScope]) -> frozenset[int]:
    labels = dict(group.labels).items()
    return frozenset(
        index
        for index, target in enumerate(targets)
        if group.stands_below(target.path) and target.selector.items() <= labels
    )


def sharing(
    gateways: Iterable[DesiredGateway], key: Callable[[DesiredGateway], Hashable]
) -> Iterator[tuple[DesiredGateway, DesiredGateway]]:
    """Yield each gateway whose `key` an earlier one has, with the first that has it; names decide what is first."""
    known: dict[Hashable, DesiredGateway] = {}
    alike: defaultdict[Hashable, list[DesiredGateway]] = defaultdict(list)
    for wanted in gateways:
        same = key(wanted)
        if known.setdefault(same, wanted) is not wanted:
            alike[same].append(wanted)
    for same, others in alike.items():
        first, *later = sorted((known[same], *others), key=lambda each: each.gateway.name)
        yield from ((each, first) for each in later)


def check_targets(membership: Membership, *, whole: bool) -> Iterator[Problem]:
    """Yield targets and gateways that do not find each other, and labels that look mistyped.

    That a target takes nothing can be told only of a `whole` tree.
    """
    if whole:
        yield from _that_take_nothing(membership)
    if membership.targets:
        yield from _in_no_target(membership)
    yield from _near_misses(membership, _keys, "the label `{}`", "/metadata/labels/{}")
    yield from _near_misses(membership, _environments, "environment={}", "/metadata/labels/environment")


def _that_take_nothing(membership: Membership) -> Iterator[Problem]:
    for target, taken in membership.taken():
        if not taken:
            why, fix = _why_nothing(target, membership.groups)
            yield MATCHES_NOTHING.at(target.location, f"target `{target.name}` takes nothing: {why}", fix=fix)


def _why_nothing(target: TargetScope, groups: Iterable[Group]) -> tuple[str, str]:
    """Return the first thing that no gateway has, and what to do about it."""
    below = [dict(group.labels) for group in groups if group.stands_below(target.path)]
    where = "" if target.path == "." else f" below {target.path}"
    if not below:
        places = {place for group in groups for place in _upwards(group.place)}
        return f"there is no gateway{where}", _hint(target.path, places, "gateways stand below")
    for key, value in sorted(target.selector.items()):
        values = {labels[key] for labels in below if key in labels}
        if not values:
            keys = {each for labels in below for each in labels}
            return f"no gateway{where} has the label `{key}`", _hint(key, keys, "the labels there are")
        if value not in values:
            return f"no gateway{where} has {key}={value}", _hint(value, values, f"the values of `{key}` are")
    return f"no gateway{where} has all of {_shown_labels(target.selector.items())}", "select by fewer labels"


def _upwards(place: str) -> Iterator[str]:
    while place:
        yield place
        place = place.rpartition("/")[0]


def _hint(wanted: str, known: Iterable[str], introduction: str) -> str:
    words = sorted(known)
    if not words:
        return "add what belongs in it, or remove the target"
    near = difflib.get_close_matches(wanted, words[:_COMPARED], n=1)
    return f"did you mean {near[0]}?" if near else f"{introduction}: {_few(words)}"


def _few(words: Sequence[str]) -> str:
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return f"{', '.join(words[:_SHOWN])}{more}"


def _shown_labels(labels: Iterable[tuple[str, str]]) -> str:
    return _few([f"{key}={value}" for key, value in sorted(labels)])


def _in_no_target(membership: Membership) -> Iterator[Problem]:
    for group, members in membership.untaken():
        has = f"it has {_shown_labels(group.labels)}" if group.labels else "it has no labels"
        fix = _way_in(group, membership.targets)
        for wanted in members:
            name = wanted.gateway.name
            yield IN_NO_TARGET.at(wanted.location, f"no target takes `{name}`: {has}", fix=fix, gateways=(name,))


def _way_in(group: Group, targets: Sequence[TargetScope]) -> str:
    """Return what would bring a group into the target that it lacks least for."""
    below = [target for target in targets if group.stands_below(target.path)]
    if not below:
        return f"move it to where a target looks: {_few(sorted({target.path for target in targets}))}"
    target = min(below, key=lambda each: (len(_missing(group, each)), each.name))
    return f"target `{target.name}` would take it with {_shown_labels(_missing(group, target))}"


def _missing(group: Group, target: TargetScope) -> set[tuple[str, str]]:
    return target.selector.items() - dict(group.labels).items()


def _near_misses(
    membership: Membership, words: Callable[[Group], Iterable[str]], shown: str, pointer: str
) -> Iterator[Problem]:
    """Yield the words that one gateway uses and that are nearly a word of many.

    `shown` is how a word is shown, and `pointer` where it stands.
    """
    uses: Counter[str] = Counter()
    user: dict[str, DesiredGateway] = {}
    for group, members in membership.groups.items():
        for word in words(group):
            uses[word] += len(members)
            user[word] = members[0]
    common = sorted(word for word, count in uses.items() if count >= _COMMON)[:_COMPARED]
    for word in sorted(word for word, count in uses.items() if count == 1)[:_COMPARED]:
        near = next((each for each in _close(word, common) if _is_slip(word, each)), None)
        if near is not None:
            name = user[word].gateway.name
            message = f"only `{name}` has {shown.format(word)}; {uses[near]} gateways have {shown.format(near)}"
            place = replace(user[word].location, pointer=pointer.format(escape(word)))
            yield LABEL_NEAR_MISS.at(place, message, fix=f"did you mean `{near}`?", gateways=(name,))


def _keys(group: Group) -> Iterator[str]:
    return (key for key, _ in group.labels)


def _environments(group: Group) -> Iterator[str]:
    return (value for key, value in group.labels if key == "environment")


def _close(word: str, words: Sequence[str]) -> list[str]:
    return difflib.get_close_matches(word, words, n=_SHOWN, cutoff=_NEAR) if len(word) >= _WORTH_COMPARING else []


def _is_slip(one: str, other: str) -> bool:
    """Return whether two close words differ by a slip of the hand: in their separators, or within one long part.

    `region-1` and `region-2`, `production` and `production-eu` are different on purpose.
    """
    if _DIGITS.sub("", one) == _DIGITS.sub("", other):
        return False
    parts, others = _PARTS.split(one), _PARTS.split(other)
    if "".join(parts) == "".join(others):
        return True
    differing = [pair for pair in zip(parts, others, strict=False) if pair[0] != pair[1]]
    return len(parts) == len(others) and len(differing) == 1 and bool(_close(differing[0][0], differing[0][1:]))
