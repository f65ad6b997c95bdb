"""What an apply did: everything that needs reading, and the sum."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.model import Action, Outcome
from reconciler.reports.outcomes import as_text, documents, summary

DONE = Outcome("a", Action.CREATE, "applied")
HELD = Outcome("b", Action.UPDATE, "refused", "changed meanwhile")
BROKEN = Outcome("c", Action.DELETE, "failed", "disk full")
LEFT = Outcome("d", Action.DELETE, "skipped", "another failed")


def test_what_went_well_comes_first_and_then_everything_else() -> None:
    assert as_text([HELD, DONE, BROKEN, LEFT]).splitlines() == [
        "  ✓ create a applied",
        "  ✗ update b refused: changed meanwhile",
        "  ✗ delete c failed: disk full",
        "  · delete d skipped: another failed",
        "Apply: 1 applied, 1 refused, 1 failed, 1 skipped.",
    ]


def test_nothing_is_said_of_nothing() -> None:
    assert summary([]) == "Nothing to apply: 0 changes."


def test_of_many_that_went_well_fifty_are_shown_and_of_others_all() -> None:
    well = [Outcome(f"g{number:04}", Action.CREATE, "applied") for number in range(1200)]
    badly = [Outcome(f"b{number}", Action.UPDATE, "refused") for number in range(60)]
    lines = as_text([*well, *badly]).splitlines()
    assert len(lines) == 50 + 1 + 60 + 1
    assert lines[50] == "  … and 1,150 more"
    assert lines[-1] == "Apply: 1,200 applied, 60 refused."


def test_the_published_document() -> None:
    assert documents([DONE, HELD]) == {
        "format_version": "1.0",
        "outcomes": [
            {"name": "a", "action": "create", "status": "applied", "reason": ""},
            {"name": "b", "action": "update", "status": "refused", "reason": "changed meanwhile"},
        ],
    }


@given(st.text(), st.text())
def test_no_name_or_reason_moves_a_cursor_or_makes_a_line(name: str, reason: str) -> None:
    lines = as_text([Outcome(name, Action.DELETE, "refused", reason)]).split("\n")
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
