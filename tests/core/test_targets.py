"""Targets and gateways that do not find each other, and labels that look mistyped, are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.lint import TargetScope
from reconciler.core.model import DesiredGateway, Gateway, Transport
from reconciler.core.problems import Location, Severity
from reconciler.core.targets import Membership, check_targets

if TYPE_CHECKING:
    from reconciler.core.problems import Problem

HERE = Location("reconciler.yaml", 7)


def wanted(name: str, directory: str = "", **labels: str) -> DesiredGateway:
    gateway = Gateway(name, f"https://{name}.example/mcp", Transport.SSE)
    location = Location(f"{directory}/{name}.yaml".removeprefix("/"), 2)
    return DesiredGateway(gateway, location, tuple(sorted(labels.items())))


def target(name: str, path: str = ".", **selector: str) -> TargetScope:
    return TargetScope(name, "sqlite", path, selector, HERE)


def found(*targets: TargetScope, fleet: list[DesiredGateway], whole: bool = True) -> list[Problem]:
    return list(check_targets(Membership(fleet, targets), whole=whole))


FLEET = [
    wanted("a", "teams/a", environment="production", team="a"),
    wanted("b", "teams/b", environment="test", team="b"),
    wanted("c", environment="test", team="c"),
]


@pytest.mark.parametrize(
    ("mistaken", "message", "fix"),
    [
        (
            target("t", environment="prodution"),
            "target `t` takes nothing: no gateway has environment=prodution",
            "did you mean production?",
        ),
        (
            target("t", environment="live"),
            "target `t` takes nothing: no gateway has environment=live",
            "the values of `environment` are: production, test",
        ),
        (
            target("t", enviroment="test"),
            "target `t` takes nothing: no gateway has the label `enviroment`",
            "did you mean environment?",
        ),
        (
            target("t", region="eu"),
            "target `t` takes nothing: no gateway has the label `region`",
            "the labels there are: environment, team",
        ),
        (
            target("t", "team/a"),
            "target `t` takes nothing: there is no gateway below team/a",
            "did you mean teams/a?",
        ),
        (
            target("t", "teams/a", environment="test"),
            "target `t` takes nothing: no gateway below teams/a has environment=test",
            "the values of `environment` are: production",
        ),
        (
            target("t", environment="production", team="b"),
            "target `t` takes nothing: no gateway has all of environment=production, team=b",
            "select by fewer labels",
        ),
    ],
)
def test_a_target_that_takes_nothing_is_told_with_the_reason(mistaken: TargetScope, message: str, fix: str) -> None:
    (problem,) = found(target("all"), mistaken, fleet=FLEET)
    assert (problem.code, problem.message, problem.fix) == ("target-matches-nothing", message, fix)
    assert problem.location == HERE


def test_a_target_of_an_empty_tree_takes_nothing() -> None:
    (problem,) = found(target("t", environment="test"), fleet=[])
    assert problem.message == "target `t` takes nothing: there is no gateway"


def test_of_a_part_of_the_tree_no_target_is_said_to_take_nothing() -> None:
    assert found(target("all"), target("t", environment="live"), fleet=FLEET, whole=False) == []


@pytest.mark.parametrize("path", ["teams/b/b.yaml", "teams/b", "teams", "."])
def test_a_target_may_name_a_directory_or_a_file(path: str) -> None:
    membership = Membership(FLEET, [target("t", path)])
    ((_, taken),) = membership.taken()
    assert "b" in [each.gateway.name for each in taken]


def test_a_gateway_in_no_target_is_told_with_the_way_in() -> None:
    problems = found(target("p", environment="production"), target("q", environment="test", team="b"), fleet=FLEET)
    (problem,) = problems
    assert (problem.code, problem.severity, problem.gateways) == ("gateway-in-no-target", Severity.INFO, ("c",))
    assert problem.message == "no target takes `c`: it has environment=test, team=c"
    assert problem.fix == "target `p` would take it with environment=production"


def test_a_gateway_outside_of_every_path_is_told_where_targets_look() -> None:
    problems = found(target("p", "teams"), target("q", "teams/a"), fleet=[*FLEET[:2], wanted("d", "other")])
    (problem,) = problems
    assert problem.message == "no target takes `d`: it has no labels"
    assert problem.fix == "move it to where a target looks: teams, teams/a"


def test_without_targets_nothing_is_said_of_them() -> None:
    assert found(fleet=FLEET) == []


MANY = [wanted(f"many-{index}", f"d{index % 2}", environment="production", team="a") for index in range(4)]


def test_a_label_that_is_nearly_a_common_one_is_told() -> None:
    (problem,) = found(fleet=[*MANY, wanted("odd", enviroment="production", team="a")])
    assert (problem.code, problem.severity, problem.gateways) == ("label-near-miss", Severity.WARNING, ("odd",))
    assert problem.message == "only `odd` has the label `enviroment`; 4 gateways have the label `environment`"
    assert problem.fix == "did you mean `environment`?"
    assert problem.location == Location("odd.yaml", 2, pointer="/metadata/labels/enviroment")


def test_an_environment_that_is_nearly_a_common_one_is_told() -> None:
    (problem,) = found(fleet=[*MANY, wanted("odd", environment="prodution")])
    assert problem.message == "only `odd` has environment=prodution; 4 gateways have environment=production"


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({"team": "b"}, id="the values of other labels are free"),
        pytest.param({"environment": "staging"}, id="another word"),
        pytest.param({"environment": "production2"}, id="another number"),
        pytest.param({"environment": "production-eu"}, id="another part"),
        pytest.param({"tea": "a"}, id="too short to tell"),
    ],
)
def test_what_is_different_on_purpose_is_no_near_miss(odd: dict[str, str]) -> None:
    assert found(fleet=[*MANY, wanted("odd", **odd)]) == []


def test_regions_beside_each_other_are_no_near_miss() -> None:
    fleet = [wanted(f"us-{index}", environment="production-us-a") for index in range(3)]
    assert found(fleet=[*fleet, wanted("eu", environment="production-eu-a")]) == []


@pytest.mark.parametrize("odd", ["cost_centre", "costcentre", "cost-cenre"])
def test_separators_and_parts_may_be_mistyped(odd: str) -> None:
    fleet = [wanted(f"g{index}", **{"cost-centre": "x"}) for index in range(3)]
    (problem,) = found(fleet=[*fleet, wanted("odd", **{odd: "x"})])
    assert problem.fix == "did you mean `cost-centre`?"


def test_a_part_of_a_qualified_label_may_be_mistyped() -> None:
    fleet = [wanted(f"g{index}", **{"example.com/environment": "x"}) for index in range(3)]
    (problem,) = found(fleet=[*fleet, wanted("odd", **{"example.com/enviroment": "x"})])
    assert problem.fix == "did you mean `example.com/environment`?"


def test_two_that_share_a_slip_or_two_that_share_the_word_are_too_few_to_tell() -> None:
    slips = [wanted(f"odd-{index}", enviroment="test") for index in range(2)]
    assert found(fleet=[*MANY, *slips]) == []
    assert found(fleet=[*MANY[:2], wanted("odd", enviroment="production")]) == []


labels = st.dictionaries(st.sampled_from(["environment", "team"]), st.sampled_from(["a", "b"]))
fleets = st.lists(st.tuples(st.sampled_from(["", "x", "x/y", "xy"]), labels), max_size=6)
scopes = st.lists(st.tuples(st.sampled_from([".", "x", "x/y", "x/y/0.yaml"]), labels), max_size=4)


@given(fleets, scopes)
def test_a_target_takes_what_stands_below_its_path_with_all_of_its_labels(
    fleet: list[tuple[str, dict[str, str]]], selectors: list[tuple[str, dict[str, str]]]
) -> None:
    gateways = [wanted(str(index), directory, **has) for index, (directory, has) in enumerate(fleet)]
    targets = [target(str(index), path, **selector) for index, (path, selector) in enumerate(selectors)]
    membership = Membership(gateways, targets)
    taken = {scope.name: {each.gateway.name for each in members} for scope, members in membership.taken()}
    for scope in targets:
        assert taken[scope.name] == {
            each.gateway.name
            for each in gateways
            if f"./{each.location.file}/".startswith(f"./{scope.path}/".replace("/./", "/"))
            and scope.selector.items() <= dict(each.labels).items()
        }
    untaken = {each.gateway.name for _, members in membership.untaken() for each in members}
    assert untaken == {each.gateway.name for each in gateways} - {name for names in taken.values() for name in names}
    for one in gateways:
        for other in gateways:
            names = {one.gateway.name, other.gateway.name}
            assert membership.meet(one, other) == (not targets or any(names <= members for members in taken.values()))
