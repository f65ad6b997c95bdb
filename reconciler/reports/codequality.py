"""Problems as a GitLab Code Quality report: the part of Code Climate's format that merge requests show.

Suppressed problems are not part of it: the format has no place for them, and every entry is shown as open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reconciler.core.hostile import printable
from reconciler.core.problems import Severity
from reconciler.reports.fingerprints import fingerprints
from reconciler.reports.problems import sentences
from reconciler.reports.style import NAME_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.reports.validation import Validation

_SEVERITIES: Final[Mapping[Severity, str]] = {
    Severity.ERROR: "critical",
    Severity.WARNING: "minor",
    Severity.INFO: "info",
}


def as_code_quality(validation: Validation) -> list[dict[str, Any]]:
    """Return an entry for each problem, in order; of two entries with one fingerprint GitLab would show one."""
    return [
        {
            "description": "; ".join(sentences(problem)),
            "check_name": problem.code,
            "fingerprint": fingerprint,
            "severity": _SEVERITIES[problem.severity],
            "location": {
                "path": printable(problem.location.file, NAME_LIMIT),
                "lines": {"begin": problem.location.line},
            },
        }
        for problem, fingerprint in fingerprints(validation.problems).items()
    ]
