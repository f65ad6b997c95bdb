"""Options, environment and the config file become one value."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from reconciler.core.problems import ProblemsError, Severity
from reconciler.core.safety import Limits
from reconciler.errors import InputError
from reconciler.settings import load_settings, scopes, shown_store, with_overrides

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "apiVersion: reconciler/v1\nkind: Config\nmetadata: {name: test}\nspec:\n"


def configured(root: Path, spec: str) -> Path:
    (root / "gateways" / "team").mkdir(parents=True)
    (root / "reconciler.yaml").write_text(HEAD + "".join(f"  {line}\n" for line in spec.splitlines()))
    return root


def test_without_a_config_file_the_directory_given_is_the_whole_tree(tmp_path: Path) -> None:
    settings = load_settings((tmp_path,))
    assert (settings.root, settings.paths, settings.whole) == (tmp_path, (".",), True)
    assert (settings.target.store, settings.owner, settings.target.limits) == (
        "sqlite:///gateways.db", "reconciler", Limits(),
    )  # fmt: skip


def test_in_a_git_repository_paths_are_relative_to_its_root(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "a" / "b").mkdir(parents=True)
    settings = load_settings((tmp_path / "a" / "b",))
    assert (settings.root, settings.paths, settings.whole) == (tmp_path, ("a/b",), True)


def test_one_file_is_not_the_whole_tree(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").touch()
    assert load_settings((tmp_path / "g.yaml",)).whole is False


def test_the_config_file_is_found_above_and_its_store_is_relative_to_it(tmp_path: Path) -> None:
    root = configured(tmp_path, "owner: team-a\npath: gateways\nstore: sqlite:///state/x.db\nexpiryWarningDays: 7")
    settings = load_settings((root / "gateways",))
    assert (settings.root, settings.paths, settings.whole) == (root, ("gateways",), True)
    assert (settings.owner, settings.expiry_warning_days) == ("team-a", 7)
    assert settings.target.store == f"sqlite:///{root}/state/x.db"


def test_part_of_the_managed_path_is_not_the_whole_tree(tmp_path: Path) -> None:
    root = configured(tmp_path, "path: gateways")
    settings = load_settings((root / "gateways" / "team",))
    assert (settings.paths, settings.whole) == (("gateways/team",), False)


TARGETS = """\
owner: us
path: gateways
targets:
  - {name: test, store: "memory:", selector: {environment: test}}
  - name: production
    store: sqlite:////var/lib/production.db
    policy: sync
    limits: {maxDeletePercent: 10, maxDeletes: 3, minExisting: 5, allowEmpty: true}
"""


def test_a_target_brings_its_store_selector_policy_and_limits(tmp_path: Path) -> None:
    root = configured(tmp_path, TARGETS)
    test = load_settings((root,), target="test").target
    assert (test.selector, test.prune) == ((("environment", "test"),), False)
    production = load_settings((root,), target="production").target
    assert (production.store, production.policy, production.prune) == ("sqlite:////var/lib/production.db", "sync", True)
    assert production.limits == Limits(10, 30, 3, 5, allow_empty=True)


def test_several_targets_need_a_choice_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    root = configured(tmp_path, TARGETS)
    settings = load_settings((root,))
    assert [target.name for target in settings.targets] == ["test", "production"]
    with pytest.raises(InputError, match="several targets") as several:
        _ = settings.target
    assert several.value.fix == "choose one with --target: test, production"
    with pytest.raises(InputError, match="no target `prod`"):
        load_settings((root,), target="prod")


def test_a_store_given_on_the_command_line_is_for_one_target(tmp_path: Path) -> None:
    settings = load_settings((configured(tmp_path, TARGETS),))
    with pytest.raises(InputError, match="several targets"):
        with_overrides(settings, {"store": "memory:"}, {})
    assert [each.prune for each in with_overrides(settings, {"prune": True}, {}).targets] == [True, True]


def test_the_other_targets_of_the_config_file_are_known(tmp_path: Path) -> None:
    root = configured(tmp_path, TARGETS)
    chosen = load_settings((root,), target="production")
    assert [each.name for each in chosen.other_targets] == ["test"]
    assert [(each.name, each.scheme, each.location.line) for each in scopes(chosen)] == [
        ("production", "sqlite", 9),
        ("test", "memory", 8),
    ]
    assert scopes(load_settings((tmp_path.parent,))) == ()


LEVELS = """rules: {plain-http: error, same-url: "off"}
suppressions:
  - {rule: plain-http, gateway: legacy, reason: replaced in spring, until: 2027-03-31}
"""


def test_levels_and_excuses_are_read_with_their_places(tmp_path: Path) -> None:
    levels = load_settings((configured(tmp_path, LEVELS),)).levels
    assert levels.by_rule == {"plain-http": Severity.ERROR, "same-url": None}
    (excuse,) = levels.suppressions
    assert (excuse.rule, excuse.gateway, excuse.until) == ("plain-http", "legacy", date(2027, 3, 31))
    assert (excuse.location.file, excuse.location.line, excuse.location.column) == ("reconciler.yaml", 7, 7)


WRONG_LEVELS = """rules: {plane-http: error, certificate-expired: info}
suppressions:
  - {rule: plain-http, gateway: legacy, reason: replaced in spring, until: 2027-02-30}
  - {rule: same-url, gateway: legacy, reason: replaced in spring, until: 2027-02-28}
  - {rule: same-url, gateway: legacy, reason: replaced in summer, until: 2027-02-28}
"""


def test_levels_that_cannot_be_are_named_where_they_stand(tmp_path: Path) -> None:
    with pytest.raises(ProblemsError) as raised:
        load_settings((configured(tmp_path, WRONG_LEVELS),))
    assert [(each.code, each.location.line, each.fix.split("; ")[0]) for each in raised.value.problems] == [
        ("unknown-rule", 5, "did you mean `plain-http`?"),
        ("rule-not-adjustable", 5, "solve the problem instead"),
        ("no-such-day", 7, "write it as in 2027-03-31"),
        ("duplicate-suppression", 9, "keep one of the two"),
    ]


def test_problems_of_the_config_file_are_reported_with_their_places(tmp_path: Path) -> None:
    root = configured(tmp_path, "owner: team-a\nstroe: sqlite:///x.db")
    with pytest.raises(ProblemsError) as raised:
        load_settings((root,))
    (problem,) = raised.value.problems
    assert (problem.location.file, problem.location.line, problem.fix) == (
        "reconciler.yaml",
        6,
        "did you mean `store`?",
    )


def test_a_path_outside_of_the_repository_is_refused(tmp_path: Path) -> None:
    root = configured(tmp_path / "repo", "owner: x")
    with pytest.raises(InputError, match="outside of the repository"):
        load_settings((root, tmp_path))


def test_what_the_command_line_says_wins_and_what_it_leaves_out_stays(tmp_path: Path) -> None:
    settings = load_settings((configured(tmp_path, "path: gateways\nstore: sqlite:///a.db"),))
    changed = with_overrides(settings, {"store": "memory:", "policy": None}, {"max_deletes": 1, "allow_empty": None})
    assert (changed.target.store, changed.target.policy) == ("memory:", "sync")
    assert changed.target.limits == Limits(max_deletes=1)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://user:secret@db/x", "postgresql://db/x"),
        ("sqlite:////var/lib/a@b.db", "sqlite:////var/lib/a@b.db"),
        ("memory:", "memory:"),
    ],
)
def test_a_store_is_shown_without_credentials(url: str, shown: str) -> None:
    assert shown_store(url) == shown
