"""What is said of tools that were called through the platform, and of the time that it took."""

from __future__ import annotations

import pytest

from reconciler.core.model import ToolCall, Waited
from reconciler.reports.platform import calls_as_documents, calls_as_text, waited_as_document, waited_as_text

CALLS = [
    ToolCall("payments", "ping", "answered"),
    ToolCall("search", "ping", "failed", "ContextForge said \x1b[31m`Internal error`"),
    ToolCall("wiki", "ping", "absent", "the platform knows no such tool of it"),
]


def test_every_call_is_shown_with_what_came_of_it_and_then_the_sum() -> None:
    assert calls_as_text(CALLS).splitlines() == [
        "  ✓ call ping of payments answered",
        r"  ✗ call ping of search failed: ContextForge said \x1b[31m`Internal error`",
        "  · call ping of wiki absent: the platform knows no such tool of it",
        "Proof: 1 of 3 gateways answered through the platform.",
    ]
    assert calls_as_documents(CALLS)[0] == {"gateway": "payments", "tool": "ping", "status": "answered", "reason": ""}


@pytest.mark.parametrize(
    ("waited", "said"),
    [
        (Waited(61, 4.33, 0.0), "Took 4.8 s: 4.3 s of it was the platform's, in 61 calls of 71 ms."),
        (Waited(1, 0.02, 0.0), "Took 4.8 s: 0.0 s of it was the platform's, in 1 call of 20 ms."),
        (
            Waited(7, 4.2, 9.2),
            "Took 4.8 s: 4.2 s of it was the platform's, in 7 calls of 600 ms, and 9 s were pauses for its rate limit.",
        ),
    ],
)
def test_the_time_of_the_platform_is_told_from_ours(waited: Waited, said: str) -> None:
    assert waited_as_text(waited, 4.8) == said


def test_what_was_waited_before_is_not_counted() -> None:
    waited = Waited(5, 2.5, 60.0).since(Waited(2, 1.0, 60.0))
    assert waited_as_document(waited) == {"calls": 3, "seconds": 1.5, "paused_seconds": 0.0}
