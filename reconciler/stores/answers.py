"""What a platform answers over HTTP, taken in with bounds."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def bounded(pieces: Iterable[bytes], most: int, deadline: float) -> bytes | None:
    """Return the pieces of an answer as one, or None where they are more than `most` bytes.

    Raises:
        TimeoutError: the monotonic clock passed `deadline` while they came.
    """
    taken: list[bytes] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > most:
            return None
        if time.monotonic() > deadline:
            raise TimeoutError
        taken.append(piece)
    return b"".join(taken)


def parsed(content: bytes) -> Any:  # noqa: ANN401 - JSON as found
    """Return the JSON of an answer, or None where it is none, or holds text that nobody can write."""
    try:
        answer = json.loads(content)
        if b"\\ud" in content.lower():  # an escaped lone surrogate
            json.dumps(answer, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return answer
