"""Work spread over processes comes back whole and in order, whatever becomes of the processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from reconciler.parallel import WORTHWHILE, by_threads, spread

PREAMBLE = "import os; from reconciler.parallel import *; here = os.getpid(); many = range(2 * WORTHWHILE + 7)\n"


def in_a_process_of_its_own(code: str) -> str:
    """Run code where there is one thread, as in a command; test runners have several, and then nothing is forked."""
    ended = subprocess.run([sys.executable, "-c", PREAMBLE + code], capture_output=True, text=True, check=True)
    return ended.stdout.strip()


def test_much_work_is_done_by_other_processes_in_order() -> None:
    code = "found = spread(lambda n: (n, os.getpid() == here), many)\n"
    code += "print([n for n, _ in found] == list(many), *{h for _, h in found})"
    assert in_a_process_of_its_own(code) in ("True False", "True True")  # one processor forks nothing


def test_work_of_a_process_that_dies_is_done_here() -> None:
    code = "print(spread(lambda n: n if os.getpid() == here else os._exit(1), many) == list(many))"
    assert in_a_process_of_its_own(code) == "True"


def test_an_error_of_the_work_is_not_hidden() -> None:
    code = "try: spread(lambda n: 1 // (n - 3000), many)\nexcept ZeroDivisionError: print('raised')"
    assert in_a_process_of_its_own(code) == "raised"


@pytest.mark.parametrize("count", [0, 1, WORTHWHILE])
def test_beside_other_threads_the_work_is_done_here(count: int) -> None:
    assert spread(str, range(count)) == [str(n) for n in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2 * WORTHWHILE + 7])
def test_threads_bring_everything_back_in_order(count: int) -> None:
    assert by_threads(str, range(count)) == [str(n) for n in range(count)]


def test_an_error_in_a_thread_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        by_threads(lambda n: 1 // (n - WORTHWHILE), range(2 * WORTHWHILE))
