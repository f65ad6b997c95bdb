"""Starts one command from a process so small that its memory is not taken for the command's.

`python -I -S benchmarks/launch.py FILE COMMAND` writes seconds by the clock, seconds of processor time and megabytes to
FILE, and ends as the command does. Linux counts the memory of whoever starts a program as the program's own peak.
"""

import os
import sys
import time


def main() -> int:
    """Run it, and return how it ended."""
    file, *words = sys.argv[1:]
    start = time.perf_counter()
    process = os.posix_spawn(words[0], words, os.environ)
    _, status, usage = os.wait4(process, 0)
    wall = time.perf_counter() - start
    with open(file, "w") as out:  # noqa: PTH123 - pathlib would be most of this program
        out.write(f"[{wall}, {usage.ru_utime + usage.ru_stime}, {usage.ru_maxrss // 1024}]")
    return os.waitstatus_to_exitcode(status)


sys.exit(main())
