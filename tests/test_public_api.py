"""What `import reconciler` offers, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import reconciler


def test_every_public_name_is_there_and_the_list_is_sorted() -> None:
    assert list(reconciler.__all__) == sorted(reconciler.__all__)
    for name in reconciler.__all__:
        assert getattr(reconciler, name) is not None


def test_importing_it_and_asking_for_help_loads_no_heavy_library() -> None:
    heavy = ("yaml", "jsonschema", "jsonschema_rs", "cryptography", "httpx", "httpcore", "sqlite3", "ssl", "watchdog")
    code = (
        f"import sys; from reconciler.cli import run; run(['--help']); print([m for m in {heavy} if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"
