"""`python -m benchmarks.broker`: how long a rotated CA takes from the save to the file of Kuadrant's broker.

The daemon runs in a process of its own, over a tree of gateways whose CA files are replaced as editors do it. Measured
is from the end of the save to the first moment at which another process reads the new certificate in the broker's file.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.daemon import make_key, running
from reconciler.demo.pki import Authority, Lifetime

if TYPE_CHECKING:
    from benchmarks.daemon import Daemon

MANIFEST = """\
apiVersion: reconciler/v1
kind: Gateway
metadata: {{name: {name}}}
spec:
  url: https://{name}.internal.example:8443/mcp
  transport: streamable-http
  tls: {{caCertificates: [{ca}.pem]}}
  kuadrant: {{prefix: {prefix}_, hostname: {name}.local}}
"""
REST_SECONDS = 0.3


def main() -> None:
    """Measure, and print."""
    arguments = _arguments()
    for job, shared in (("own CA", False), ("one CA for all", True)):
        with tempfile.TemporaryDirectory() as directory:
            taken = _rotations(Path(directory), arguments.gateways, arguments.rounds, shared=shared)
        taken.sort()
        figures = {"median": statistics.median(taken), "p95": taken[int(len(taken) * 0.95)], "worst": taken[-1]}
        print(f"{job:15}", ", ".join(f"{name} {value:.0f} ms" for name, value in figures.items()), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gateways", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=40, help="rotations of one CA file")
    return parser.parse_args()


def _rotations(directory: Path, gateways: int, rounds: int, *, shared: bool) -> list[float]:
    """Return the milliseconds that each rotation took."""
    tree, broker = directory / "tree", directory / "broker"
    tree.mkdir()
    broker.mkdir()
    make_key(directory)
    names = [f"gateway-{number:02d}" for number in range(gateways)]
    for name in names:
        ca = "all" if shared else name
        _save(tree / f"{ca}.pem", _certificate(ca))
        text = MANIFEST.format(name=name, ca=ca, prefix=name.replace("-", "_"))
        (tree / f"{name}.yaml").write_text(text)
    config = broker / "config.yaml"
    options = ("--no-verify", "--store", f"kuadrant+file://{config}")
    with running(tree, *options) as daemon:
        rotated = ["all"] if shared else names
        return [_rotation(daemon, tree / f"{rotated[n % len(rotated)]}.pem", config) for n in range(rounds)]


def _rotation(daemon: Daemon, file: Path, config: Path) -> float:
    new = _certificate(file.stem)
    line = new.splitlines()[-2]  # the end of its signature: no other certificate has it
    time.sleep(REST_SECONDS)
    _save(file, new)
    begin = time.monotonic()
    daemon.wait_until(lambda: line in config.read_text(), "the new CA in the broker's file")
    return (time.monotonic() - begin) * 1000


def _certificate(name: str) -> str:
    return Authority.root(f"CA of {name}", Lifetime.around(datetime.now(UTC), days=800)).pem  # noqa: TID251 - as it is


def _save(file: Path, text: str) -> None:
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.write_text(text)
    temporary.replace(file)


if __name__ == "__main__":
    main()
