"""The jobs that are measured: what a user types, against trees of each size, beside floors and peers.

`validate` and the first `apply` are cold: nothing is remembered of an earlier run. `plan` comes after an apply, as the
next run on the same machine does; the plan "of a fresh clone" has the same store and remembers nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import floors, peers, upstreams
from benchmarks.generate import generate
from benchmarks.measuring import Candidate, Measure, Sample, command, in_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from live_postgresql import PostgreSQL

RECONCILER: Final = str(Path(sys.executable).parent / "reconciler")
CA_FILES: Final = 200
PEERS_UP_TO: Final = 10_000
"""Some peers take minutes for more."""

HELP: Final = "reconciler --help"
BARE_PYTHON: Final = "python -c pass (floor)"
ONE_FILE: Final = "validate, one file"
VALIDATE: Final = "validate, cold"
APPLY: Final = "first apply, signed, SQLite"
PLAN: Final = "plan, nothing changed, SQLite"
PLAN_FRESH: Final = "plan, nothing changed, fresh clone"
APPLY_POSTGRESQL: Final = "first apply, signed, PostgreSQL"
PLAN_POSTGRESQL: Final = "plan, nothing changed, PostgreSQL"
CHANGE_POSTGRESQL: Final = "apply, one file changed, PostgreSQL"
SAVE: Final = "daemon: one file saved, row committed"
SAVE_AT_ONCE: Final = "daemon: the same, no quiet window"
HANDSHAKES: Final = "TLS and one request each (floor)"
VERIFY: Final = "verify, the whole MCP exchange"

FLOORS: Final = {
    BARE_PYTHON: BARE_PYTHON,
    HELP: BARE_PYTHON,
    ONE_FILE: BARE_PYTHON,
    SAVE: "",
    SAVE_AT_ONCE: "",
    HANDSHAKES: HANDSHAKES,
    VERIFY: HANDSHAKES,
}
"""The floor beside which each is shown; for all others it is reading and hashing the files."""

_GUARDS: Final = ("--max-update-percent", "100")


@dataclass(frozen=True, slots=True)
class Ground:
    """What the jobs of one run stand on: a directory of their own, and an environment with nothing of the user's."""

    directory: Path
    rounds: int
    environment: Mapping[str, str] = field(repr=False)

    @classmethod
    def at(cls, directory: Path, rounds: int) -> Ground:
        """Prepare a directory: a signing key, and a place for what is remembered."""
        key = directory / "signing.key"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "RECONCILER_CACHE_DIR": str(directory / "cache"),
            "RECONCILER_SIGNING_KEY_FILE": str(key),
        }
        subprocess.run(
            [RECONCILER, "keys", "generate", str(key), "-q"], env=environment, check=True, capture_output=True
        )
        return cls(directory, rounds, environment)

    def tree(self, size: int) -> Path:
        """Return the generated tree of a size."""
        tree = self.directory / str(size)
        if not tree.exists():
            generate(tree, size, min(size, CA_FILES))
        return tree

    def one_file(self) -> Path:
        """Return a manifest of a small tree."""
        return self.tree(10) / "0000" / "gateway-00001.yaml"

    def ours(self, job: str, *words: str, before: Sequence[Callable[[], None]] = ()) -> Candidate:
        """Return one of our commands as a candidate; what is `before` it is not measured."""

        def run() -> Sample:
            for prepare in before:
                prepare()
            return command([RECONCILER, *words], self.environment)[0]

        return Candidate(job, run)

    def forgetful(self, job: str, *words: str) -> Candidate:
        """Return one of our commands that remembers nothing, and from which the others learn nothing."""
        aside = self.directory / "forgotten"
        apart = replace(self, environment={**self.environment, "RECONCILER_CACHE_DIR": str(aside)})
        return apart.ours(job, *words, before=[lambda: shutil.rmtree(aside, ignore_errors=True)])

    def forget(self) -> None:
        """Remove what earlier runs have remembered."""
        shutil.rmtree(self.directory / "cache", ignore_errors=True)


def start(ground: Ground, _size: int) -> list[Measure]:
    """Measure what starting costs."""
    python = Candidate(BARE_PYTHON, lambda: command([sys.executable, "-c", "pass"], ground.environment)[0])
    one = str(ground.one_file())
    candidates = [python, ground.ours(HELP, "--help"), ground.ours(ONE_FILE, "validate", one)]
    return in_turns(candidates, 1, ground.rounds * 4)


def tree(ground: Ground, size: int) -> list[Measure]:
    """Measure validation, the first apply and the plan without changes together: their ratios have bars."""
    files = ground.tree(size)
    store = ground.directory / f"{size}.db"
    common = [str(files), "--store", f"sqlite:///{store}"]

    def empty() -> None:
        for path in store.parent.glob(f"{store.name}*"):
            path.unlink()

    candidates = [
        *floors.candidates(files, ground.environment),
        ground.forgetful(VALIDATE, "validate", str(files)),
        ground.ours(APPLY, "apply", "--no-verify", *common, before=[ground.forget, empty]),
        ground.ours(PLAN, "plan", *common),
        ground.forgetful(PLAN_FRESH, "plan", *common),
    ]
    if size <= PEERS_UP_TO:
        candidates += peers.candidates("validate", files, ground.environment)
        candidates += peers.candidates("plan", files, ground.environment)
    return in_turns(candidates, size, ground.rounds)


def postgresql(ground: Ground, size: int) -> list[Measure]:
    """Measure the same against a server of its own on this machine, which waits for the disk at every commit."""
    tree = ground.tree(size)
    with postgresql_server(ground) as server:
        ground = replace(ground, environment={**ground.environment, "PGPASSWORD": server.password})
        common = [str(tree), "--store", server.url()]
        apply = ["apply", "--no-verify", *_GUARDS, *common]

        def empty() -> None:
            with server.connect() as connection:
                connection.execute("DROP SCHEMA public CASCADE")
                connection.execute("CREATE SCHEMA public")

        candidates = [
            ground.ours(APPLY_POSTGRESQL, *apply, before=[ground.forget, empty]),
            ground.ours(PLAN_POSTGRESQL, "plan", *common),
            ground.ours(CHANGE_POSTGRESQL, *apply, before=[lambda: _change_one(tree)]),
        ]
        return in_turns(candidates, size, ground.rounds)


def postgresql_server(ground: Ground) -> AbstractContextManager[PostgreSQL]:
    """Run the server that the tests use, but one that waits for the disk."""
    sys.path.append(str(peers.ROOT / "tests"))
    from live_postgresql import running_postgresql

    return running_postgresql(ground.directory / "postgresql", durable=True)


def _change_one(tree: Path) -> None:
    one = tree / "0000" / "gateway-00000.yaml"
    text = one.read_text()
    new, old = "description: new ", "description: "
    one.write_text(text.replace(new, old) if new in text else text.replace(old, new))


def daemon(ground: Ground, size: int) -> list[Measure]:
    """Measure the way of one saved file to its row, from the end of saving to what another connection sees."""
    from benchmarks.daemon import prepare, running, saves

    tree = ground.directory / "daemon" / "tree"
    prepare(tree, size)
    found = []
    for job, options in ((SAVE, ()), (SAVE_AT_ONCE, ("--quiet-window", "0ms"))):
        with running(tree, "--no-verify", *options) as watching:
            found.append(Measure(job, size, tuple(saves(watching, ground.rounds * 8))))
    return found


def verify(ground: Ground, size: int) -> list[Measure]:
    """Measure verification of upstreams, against bare handshakes with the same servers."""
    names = {"floor": HANDSHAKES, "verify": VERIFY}
    found = upstreams.measure(ground.rounds, size)
    return [
        Measure(names[kind], size, tuple(Sample(each.wall, each.cpu, each.megabytes) for each in done))
        for kind, done in found.items()
    ]


@dataclass(frozen=True, slots=True)
class Part:
    """Jobs that are measured together, and the sizes at which: those asked for, up to a limit, or one of its own."""

    measure: Callable[[Ground, int], list[Measure]]
    about: str
    largest: int = sys.maxsize
    own: int = 0

    def sizes(self, asked: Sequence[int]) -> list[int]:
        """Return the sizes at which this is measured, when some are asked for."""
        if self.own:
            return [min(self.own, max(asked))]
        return [size for size in asked if size <= self.largest]


PARTS: Final = {
    "start": Part(start, "--help, and one file", own=1),
    "tree": Part(tree, "validate, first apply, plan without changes; floors and peers"),
    "postgresql": Part(postgresql, "first apply, plan, one changed file"),
    "daemon": Part(daemon, "one saved file to its row", own=10_000),
    "verify": Part(verify, "upstreams, over TLS", own=1000),
}
