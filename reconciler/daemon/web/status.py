"""The board as JSON: what `reconciler status -o json` says, and what only somebody who watches can know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.daemon.events import as_document as event_document
from reconciler.reports import status as report

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.daemon.board import Board, Row, TargetState


def as_document(board: Board, now: datetime) -> dict[str, Any]:
    """Return everything on the board as JSON values."""
    tree = board.tree
    return {
        "format_version": "1.0",
        "now": now.isoformat(),
        "started_at": board.started_at.isoformat(),
        "tree": {
            "revision": tree.revision,
            "dirty": tree.dirty,
            "read_at": _moment(tree.read_at),
            "pulled_at": _moment(tree.pulled_at),
            "gateways": tree.gateways,
            "broken": tree.broken,
            "trouble": tree.trouble,
            "distrusted": tree.distrusted,
            "problems": [
                {
                    "code": each.code,
                    "severity": each.severity.value,
                    "message": each.message,
                    "file": each.location.file,
                    "line": each.location.line,
                    "fix": each.fix,
                }
                for each in tree.problems
            ],
        },
        "targets": [_target(board, state) for state in board.targets().values()],
        "events": [event_document(event) for event in board.events()],
    }


def _target(board: Board, state: TargetState) -> dict[str, Any]:
    rows = board.rows(state.name)
    standings = report.as_document([row.standing for row in rows.values()])["gateways"]
    return {
        "name": state.name,
        "store": state.store,
        "role": state.role,
        "lease": state.lease,
        "revision": state.revision,
        "passes": state.passes,
        "last_pass": _moment(state.last_pass),
        "last_success": _moment(state.last_success),
        "trouble": state.trouble,
        "refused": state.refused,
        "waiting": state.waiting,
        "held": dict(state.held),
        "gateways": [{**standing, **_besides(row)} for standing, row in zip(standings, rows.values(), strict=True)],
    }


def _besides(row: Row) -> dict[str, Any]:
    suspended = row.suspension
    return {
        "suspended": {"until": suspended.until.isoformat(), "reason": suspended.reason} if suspended else None,
        "held": row.held,
    }


def _moment(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None
