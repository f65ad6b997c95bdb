"""What stays the same about a problem from run to run, so that platforms know it again."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from typing import TYPE_CHECKING

from reconciler.core.problems import in_order

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.core.problems import Problem


def fingerprints(problems: Iterable[Problem]) -> dict[Problem, str]:
    """Return a name of 32 hex digits for each problem, no two the same.

    It depends on the code, the file, the pointer and the words of the message: lines may move, days and sizes may
    change, a rule may get another level. Problems that are alike in all this are numbered in the order of the file.
    """
    alike: Counter[str] = Counter()
    names = {}
    for problem in in_order(problems):
        words = re.sub(r"[0-9]+", "", problem.message)
        said = json.dumps([problem.code, problem.location.file, problem.location.pointer, words])
        alike[said] += 1
        names[problem] = hashlib.sha256(f"{said} {alike[said]}".encode()).hexdigest()[:32]
    return names
