"""The profile of each job: what is run under observation, and on what."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from benchmarks import peers, profiling, upstreams
from benchmarks.measuring import command

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from benchmarks.jobs import Ground

SAVES: Final = 100
_SHORT: Final = ("help", "one-file")
_SHORT_RUNS: Final = 20
"""A short run is seen too few times to say much: it is run so often."""


def profile(name: str, ground: Ground, size: int) -> dict[str, Any]:
    """Return where the time of a job goes."""
    file = ground.directory / "profile.json"
    seen = profiling.Seen(float)
    times, size = (_SHORT_RUNS, 1) if name in _SHORT else (1, size)
    for _ in range(times):
        PROFILES[name](ground, size, file)
        profiling.read(file, seen)
    found = profiling.summary(seen)
    return {**found, "size": size, "seconds": round(found["seconds"] / times, 3)}


def _observed(file: Path, module: str, observer: str = "profiling") -> list[str]:
    return [sys.executable, "-m", f"benchmarks.{observer}", str(file), module]


def _run(ground: Ground, file: Path, *words: str, environment: Mapping[str, str] | None = None) -> None:
    everything = {**ground.environment, "PYTHONPATH": str(peers.ROOT), **(environment or {})}
    command([*_observed(file, "reconciler"), *words], everything)


def _help(ground: Ground, _size: int, file: Path) -> None:
    _run(ground, file, "--help")


def _one_file(ground: Ground, _size: int, file: Path) -> None:
    _run(ground, file, "validate", str(ground.one_file()))


def _validate(ground: Ground, size: int, file: Path) -> None:
    ground.forget()
    _run(ground, file, "validate", str(ground.tree(size)))


def _store(ground: Ground, size: int) -> list[str]:
    return [str(ground.tree(size)), "--store", f"sqlite:///{ground.directory}/profiled-{size}.db"]


def _apply(ground: Ground, size: int, file: Path) -> None:
    ground.forget()
    for path in ground.directory.glob("profiled-*.db*"):
        path.unlink()
    _run(ground, file, "apply", "--no-verify", *_store(ground, size))


def _plan(ground: Ground, size: int, file: Path) -> None:
    _apply(ground, size, file)
    _run(ground, file, "plan", *_store(ground, size))


def _postgresql(ground: Ground, size: int, file: Path) -> None:
    from benchmarks.jobs import postgresql_server

    with postgresql_server(ground) as server:
        password = {"PGPASSWORD": server.password}
        common = [str(ground.tree(size)), "--store", server.url()]
        _run(ground, file, "apply", "--no-verify", *common, environment=password)
        _run(ground, file, "plan", *common, environment=password)


def _daemon(ground: Ground, size: int, file: Path) -> None:
    """Look at the daemon while files are saved, and not before."""
    from benchmarks.daemon import prepare, running, saves

    tree = ground.directory / "profiled" / "tree"
    prepare(tree, size)
    with running(tree, "--no-verify", program=_observed(file, "reconciler", "tracing")) as watching:
        watching.process.send_signal(signal.SIGUSR1)
        saves(watching, SAVES)


def _verify(_ground: Ground, size: int, file: Path) -> None:
    with upstreams.serving(min(size, upstreams.UPSTREAMS)) as (directory, ports):
        words = [*_observed(file, "benchmarks.upstreams", "tracing"), "verify", directory]
        subprocess.run(words, input=ports, text=True, check=True, capture_output=True)


PROFILES: Final[Mapping[str, Callable[[Ground, int, Path], None]]] = {
    "help": _help,
    "one-file": _one_file,
    "validate": _validate,
    "apply": _apply,
    "plan": _plan,
    "postgresql": _postgresql,
    "daemon": _daemon,
    "verify": _verify,
}


def text(name: str, found: Mapping[str, Any]) -> str:
    """Return a profile for a terminal."""
    head = (
        f"{name}, size {found['size']:,}: {found['seconds']:.2f} s of processor time, by room: {rooms(found['rooms'])}"
    )
    lines = [f"  {share:5.1f} %  {function:60} {line}" for share, function, line in found["functions"]]
    return "\n".join([head, *lines])


def rooms(shares: Sequence[tuple[str, float]]) -> str:
    """Return rooms and shares as a phrase."""
    return ", ".join(f"{room} {share:.0f} %" for room, share in shares if share >= 1)
