"""Sixty gateways applied to ContextForge, against bare POSTs of the same rows to the same platform in the same run.

`python -m benchmarks.contextforge` measures, after `make test` has installed the platform: it is the one that the tests
start. `reconciler apply` is a process of its own, start-up included, and writes to an empty platform. What it stored is
read and deleted, and posted again one by one by a client that keeps its connection and looks at nothing but the status.
The platform connects to the upstream before it answers: an MCP server of the official SDK, over TLS with a private CA.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.clock import now
from reconciler.demo.pki import Authority, Lifetime
from reconciler.demo.upstreams import Upstream

TESTS = Path(__file__).parents[1] / "tests"
sys.path.append(str(TESTS))

from live_contextforge import running_contextforge  # noqa: E402 - it stands with the tests

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx
    from live_contextforge import ContextForge

GATEWAYS = 60
_RECONCILER = str(Path(sys.executable).parent / "reconciler")
_POSTED = {
    "name": "name",
    "url": "url",
    "transport": "transport",
    "visibility": "visibility",
    "description": "description",
    "caCertificate": "ca_certificate",
    "caCertificateSig": "ca_certificate_sig",
    "signingAlgorithm": "signing_algorithm",
}
"""What is copied from a row as the API shows it to a row as it takes it; tags are copied besides."""


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of one round: the apply, a second one that has nothing to do, and the bare POSTs."""

    apply: float
    again: float
    posts: float


def measure(rounds: int, count: int = GATEWAYS) -> list[Round]:
    """Return the rounds; one before them is not counted."""
    with tempfile.TemporaryDirectory() as name, running_contextforge(Path(name) / "platform") as platform:
        root = Authority.root("Benchmark Root CA", Lifetime.around(now()))
        with Upstream("bench", root.issue_server(["localhost"]), {"pay": "Pay an invoice"}) as upstream:
            tree = Path(name) / "gateways"
            _write_tree(tree, upstream.url, root.pem, count)
            environment = _environment(platform, Path(name))
            return [_round(platform, tree, environment) for _ in range(rounds + 1)][1:]


def _write_tree(tree: Path, url: str, bundle: str, count: int) -> None:
    tree.mkdir()
    (tree / "root.pem").write_text(bundle)
    for number in range(count):
        spec = {
            "url": f"{url}?number={number}",
            "transport": "streamable-http",
            "visibility": "public",
            "tls": {"caCertificates": ["root.pem"]},
        }
        metadata = {"name": f"gateway-{number}", "labels": {"team": "payments"}}
        manifest = {"apiVersion": "reconciler/v1", "kind": "Gateway", "metadata": metadata, "spec": spec}
        (tree / f"{number}.yaml").write_text(json.dumps(manifest))


def _environment(platform: ContextForge, directory: Path) -> dict[str, str]:
    key = directory / "signing.key"
    key.touch(mode=0o600)
    key.write_text(platform.signing_key)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "RECONCILER_CACHE_DIR": str(directory / "cache"),
        "RECONCILER_SIGNING_KEY_FILE": str(key),
        "RECONCILER_STORE": f"contextforge+{platform.url}",
        "RECONCILER_CONTEXTFORGE_TOKEN": platform.token,
    }


def _round(platform: ContextForge, tree: Path, environment: dict[str, str]) -> Round:
    platform.empty()
    apply = _applied(tree, environment)
    again = _applied(tree, environment)
    with platform.client() as api:
        rows = [_body(row) for row in api.get("/v1/gateways?limit=0").raise_for_status().json()]
        platform.empty()
        return Round(apply, again, _posted(api, rows))


def _applied(tree: Path, environment: dict[str, str]) -> float:
    start = time.perf_counter()
    ended = subprocess.run(
        [_RECONCILER, "apply", "--no-verify", str(tree)], env=environment, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise SystemExit(f"the apply ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    return time.perf_counter() - start


def _body(row: dict[str, Any]) -> dict[str, Any]:
    tags = [tag["id"] for tag in row["tags"]]
    return {"tags": tags, **{posted: row[shown] for shown, posted in _POSTED.items() if row[shown] is not None}}


def _posted(api: httpx.Client, rows: Sequence[dict[str, Any]]) -> float:
    start = time.perf_counter()
    for row in rows:
        api.post("/v1/gateways", json=row).raise_for_status()
    return time.perf_counter() - start


def show(rounds: Sequence[Round], count: int = GATEWAYS) -> None:
    """Print the medians, and the ratio of each round's pair."""
    print(f"\n{count} gateways, ContextForge on SQLite, {os.cpu_count()} cores")
    jobs = {"posts": "bare POSTs (floor)", "apply": "apply, signed", "again": "apply, nothing changed"}
    for job, name in jobs.items():
        seconds = [getattr(each, job) for each in rounds]
        print(f"  {name:24} {statistics.median(seconds):8.3f} s  from {min(seconds):.3f} to {max(seconds):.3f}")
    ratios = sorted(each.apply / each.posts for each in rounds)
    print(f"  apply / POSTs: {statistics.median(ratios):.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.contextforge", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    show(measure(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
