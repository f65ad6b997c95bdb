"""Logs on standard error, one line each: for people, or as JSON for machines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from reconciler.core.hostile import printable

if TYPE_CHECKING:
    from reconciler.daemon.events import Event

Form = Literal["text", "json"]

_LONGEST = 2000
_LEVELS = {"firing": logging.ERROR, "resolved": logging.INFO, "happened": logging.INFO}
_log = logging.getLogger("reconciler.events")


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        said = printable(record.getMessage(), _LONGEST)
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{at:%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03d}Z {record.levelname.lower():7} {said}{trace}"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        document = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:_LONGEST],
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document)


def set_up(form: Form, *, verbose: bool = False) -> None:
    """Send the logs of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    top = logging.getLogger()
    top.handlers[:] = [handler]
    top.setLevel(logging.WARNING)
    logging.getLogger("reconciler").setLevel(logging.DEBUG if verbose else logging.INFO)


def log_event(event: Event) -> None:
    """Log an event; its parts stand beside the message for machines."""
    about = event.subject.gateway or event.subject.target or "tree"
    over = " is over" if event.state == "resolved" else ""
    fields = {"reason": event.reason, "state": event.state, "key": event.key, "revision": event.revision}
    _log.log(_LEVELS[event.state], "%s: %s%s: %s", about, event.reason, over, event.message, extra={"fields": fields})
