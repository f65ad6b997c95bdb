"""What stands in a tree and does nothing is told, and only that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.inheritance import Defaults
from reconciler.core.leftovers import check_leftovers, values
from reconciler.core.lint import Across, lint
from reconciler.core.manifest import Manifest
from reconciler.core.problems import Location, Severity

if TYPE_CHECKING:
    from reconciler.core.inheritance import Spec
    from reconciler.core.problems import Problem

NOTHING_SET = "these Defaults set nothing"
NOBODY = "no gateway stands here or below"


def gateway(file: str, **spec: Any) -> Manifest:
    return Manifest("Gateway", file.replace("/", "-"), {"url": "https://mcp.example/mcp", **spec}, f"{file}.yaml", 0, 1)


def defaults(directory: str, **spec: Any) -> Manifest:
    return Manifest("Defaults", "defaults", spec, f"{directory}/defaults.yaml".removeprefix("/"), 0, 2)


def told(*manifests: Manifest, pem_files: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    return [(each.location.file, each.message) for each in check_leftovers(manifests, pem_files)]


def test_a_pem_file_that_no_manifest_names_is_told_at_the_file() -> None:
    manifests = [
        gateway("a", tls={"caCertificates": ["certs/ca.pem"], "clientCertificate": "certs/me.crt"}),
        defaults("", tls={"caCertificates": ["certs/shared.pem"]}),
        gateway("b"),
    ]
    files = ("certs/ca.pem", "certs/me.crt", "certs/shared.pem", "certs/old.pem")
    (problem,) = check_leftovers(manifests, files)
    assert (problem.code, problem.severity) == ("unreferenced-pem", Severity.WARNING)
    assert problem.location == Location("certs/old.pem")
    assert problem.fix


pem_names = st.sampled_from([f"{letter}.pem" for letter in "abcdefgh"])


@given(st.lists(st.lists(pem_names)), st.sets(pem_names))
def test_what_is_unreferenced_is_the_files_less_those_that_are_named(
    references: list[list[str]], files: set[str]
) -> None:
    manifests = [gateway(f"{index}", tls={"caCertificates": names}) for index, names in enumerate(references)]
    unreferenced = {each.location.file for each in check_leftovers(manifests, files)}
    assert unreferenced == files - {name for names in references for name in names}


SET_AGAIN = "is set again by or nearer to each gateway below"


@pytest.mark.parametrize(
    ("manifests", "expected"),
    [
        pytest.param([defaults("", transport="sse"), gateway("a")], {}, id="used"),
        pytest.param([defaults("", transport="sse"), gateway("far/below/a")], {}, id="used far below"),
        pytest.param([defaults("x", transport="sse"), gateway("a"), gateway("xy/b")], {"x": NOBODY}, id="nobody"),
        pytest.param([defaults("", transport="sse")], {"": NOBODY}, id="an empty tree"),
        pytest.param([defaults(""), gateway("a")], {"": NOTHING_SET}, id="empty"),
        pytest.param([defaults("", tls={}), gateway("a")], {"": NOTHING_SET}, id="empty inside"),
        pytest.param(
            [defaults("", transport="sse"), gateway("a", transport="sse"), gateway("x/b", transport="sse")],
            {"": f"all that is set here (transport) {SET_AGAIN}"},
            id="every gateway says it itself",
        ),
        pytest.param(
            [defaults("", transport="sse"), gateway("a", transport="sse"), gateway("b")], {}, id="one does not"
        ),
        pytest.param(
            [defaults("", verify={"mode": "off", "timeout": "5s"}), gateway("a", verify={"mode": "off"})],
            {},
            id="half of a mapping",
        ),
        pytest.param(
            [defaults("", auth={"type": "basic", "username": "u"}), gateway("a", auth={"type": "none"})],
            {"": f"all that is set here (auth) {SET_AGAIN}"},
            id="auth is one thing",
        ),
        pytest.param(
            [defaults("", transport="sse", enabled=False), defaults("x", transport="sse"), gateway("x/a")],
            {},
            id="the nearer one takes part of it",
        ),
        pytest.param(
            [defaults("", transport="sse"), defaults("x", transport="sse"), gateway("x/y/a")],
            {"": f"all that is set here (transport) {SET_AGAIN}"},
            id="the nearer one takes all of it",
        ),
        pytest.param(
            [defaults("", **dict.fromkeys("abcdefg", 1)), gateway("x", **dict.fromkeys("abcdefg", 2))],
            {"": f"all that is set here (a, b, c, d, e and 2 more) {SET_AGAIN}"},
            id="many values",
        ),
    ],
)
def test_defaults_that_decide_nothing_are_told(manifests: list[Manifest], expected: dict[str, str]) -> None:
    files = {f"{directory}/defaults.yaml".removeprefix("/"): message for directory, message in expected.items()}
    assert dict(told(*manifests)) == files


def test_only_a_whole_tree_can_tell_what_is_left_over() -> None:
    found: dict[bool, list[Problem]] = {
        whole: list(lint(Across({}, {}, [defaults("")], frozenset({"a.pem"}), whole))) for whole in (True, False)
    }
    assert {each.code for each in found[True]} == {"unreferenced-pem", "defaults-unused"}
    assert found[False] == []


directories = st.sampled_from(["", "a", "a/b", "a/b/c", "d"])
settings = st.fixed_dictionaries(
    {},
    optional={
        "transport": st.sampled_from(["sse", "streamable-http"]),
        "auth": st.sampled_from([{"type": "none"}, {"type": "basic", "username": "u"}]),
        "verify": st.fixed_dictionaries({}, optional={"mode": st.just("off"), "timeout": st.just("1s")}),
    },
)
trees = st.tuples(
    st.dictionaries(directories, settings, max_size=4), st.lists(st.tuples(directories, settings), max_size=4)
)


@given(trees)
def test_defaults_are_unused_exactly_where_nothing_changes_without_one_of_their_values(
    tree: tuple[dict[str, Spec], list[tuple[str, Spec]]],
) -> None:
    above, gateways = tree
    manifests = [defaults(directory, **spec) for directory, spec in above.items()]
    manifests += [gateway(f"{directory}/{i}".removeprefix("/"), **spec) for i, (directory, spec) in enumerate(gateways)]
    unused = {file for file, _ in told(*manifests)}
    by_directory = Defaults(manifests, {})
    for each in manifests[: len(above)]:
        decides = any(
            by_directory.origin(directory, pointer) is each and not _sets(spec, pointer)
            for directory, spec in gateways
            for pointer in values(each.spec)
        )
        assert (each.file in unused) is not decides


def _sets(spec: Spec, pointer: tuple[str, ...]) -> bool:
    return pointer in values(spec) or (pointer[0] == "auth" and "auth" in spec)


class Watched(dict[str, Any]):
    """A spec that counts how often anybody looks into it."""

    looks = 0

    def __contains__(self, key: object) -> bool:
        self.looks += 1
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.looks += 1
        return super().get(key, default)


def looks(gateways: int) -> int:
    """Return how often the specs of a tree are looked into, with Defaults that all of its gateways override."""
    spec = Watched(transport="sse", enabled=True)
    manifests = [defaults("", transport="sse", enabled=True), *(defaults(f"d{i}", enabled=True) for i in range(10))]
    manifests += [Manifest("Gateway", f"{i}", spec, f"d{i % 10}/{i}.yaml", 0, 1) for i in range(gateways)]
    assert len(told(*manifests)) == 11
    return spec.looks


def test_twice_the_gateways_are_twice_the_work() -> None:
    assert 1000 <= looks(1000) <= looks(2000) <= 2.1 * looks(1000)
