"""A reader under atheris. `run.py` starts it: `target.py yaml|… [libFuzzer's options] CORPUS...`."""

from __future__ import annotations

import importlib
import sys
from typing import Any

atheris: Any = importlib.import_module("atheris")  # made for fuzzing only, and without types

with atheris.instrument_imports(include=["reconciler"]):
    from oracles import ORACLES

if __name__ == "__main__":
    program, reader, *options = sys.argv
    atheris.Setup([program, *options], ORACLES[reader])
    atheris.Fuzz()
