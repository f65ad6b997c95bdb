"""Counts work instead of seconds: files, statements, rows, certificates, signatures.

A function of C is counted by its name wherever it is called from; one of Python by its name and the file it stands in.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

_CALLS = {
    "load_der_x509_certificate": "certificates parsed",
    "load_pem_x509_certificate": "certificates parsed",
    "load_pem_x509_certificates": "certificates parsed",
    "execute": "statements executed",
    "executemany": "statements executed",
    "sign": "signatures made",
    "verify": "signatures checked",
}
_OURS = {
    ("live_gateway", "stores/rows.py"): "rows read",
    ("execute", "psycopg/cursor.py"): "statements executed",
    ("execute", "psycopg/_server_cursor.py"): "statements executed",
    ("executemany", "psycopg/cursor.py"): "statements executed",
}
_active: list[tuple[Counter[str], str]] = []


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if not _active:
        return
    counter, below = _active[-1]
    if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(below):
        counter["files opened"] += 1


sys.addaudithook(_heard)


@contextmanager
def counting(below: Path) -> Iterator[Counter[str]]:
    """Count what is done meanwhile; only files below a directory count."""
    counter: Counter[str] = Counter()

    def called(frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call":
            name = _CALLS.get(function.__name__)
        elif event == "call":
            file = "/".join(frame.f_code.co_filename.rsplit("/", 2)[-2:])
            name = _OURS.get((frame.f_code.co_name, file))
        else:
            return
        if name:
            counter[name] += 1

    _active.append((counter, f"{below}/"))
    threading.setprofile(called)
    sys.setprofile(called)
    try:
        yield counter
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        _active.pop()
