"""What Prometheus reads: every metric by name in one table, and the board as samples.

Nothing is counted here. Gauges are made from the board when they are asked for, so that a gateway that is no more
leaves no series behind.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from reconciler.daemon.board import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from prometheus_client.core import Metric

    from reconciler.daemon.board import Board, Row, TargetState
    from reconciler.daemon.probes import ProbePool

Kind = Literal["counter", "gauge", "histogram"]


class Described(NamedTuple):
    """What a metric is: its kind, its labels, and a sentence."""

    kind: Kind
    labels: tuple[str, ...]
    help: str


METRICS: Final[dict[str, Described]] = {
    "reconciler_passes_total": Described(
        "counter", ("kind", "result", "target"), "Passes: for a change, the whole target, or in search of drift."
    ),
    "reconciler_pass_seconds": Described("histogram", ("kind", "target"), "How long passes took."),
    "reconciler_changes_total": Described(
        "counter", ("action", "outcome", "target"), "Changes of rows, by what became of them."
    ),
    "reconciler_healed_total": Described(
        "counter", ("reason", "target"), "Rows that somebody changed and we restored."
    ),
    "reconciler_probes_total": Described("counter", ("result", "target"), "Looks at upstreams."),
    "reconciler_probe_seconds": Described("histogram", ("target",), "How long looks at upstreams took."),
    "reconciler_events_total": Described("counter", ("reason", "state"), "Events told."),
    "reconciler_webhook_total": Described("counter", ("result",), "Events sent to the webhook, and those given up."),
    "reconciler_pulls_total": Described("counter", ("result",), "Pulls of the git remote."),
    "reconciler_hooks_total": Described("counter", ("result",), "Calls of the git webhook."),
    "reconciler_tree_broken": Described("gauge", (), "1 while the tree has errors and the last good state is kept."),
    "reconciler_tree_problems": Described("gauge", ("severity",), "Problems of the tree."),
    "reconciler_tree_gateways": Described("gauge", (), "Gateways that the tree describes."),
    "reconciler_tree_read_timestamp_seconds": Described("gauge", (), "When the tree was read last."),
    "reconciler_pull_timestamp_seconds": Described("gauge", (), "When the remote gave a commit that may be used."),
    "reconciler_commit_distrusted": Described("gauge", (), "1 while the remote's commit may not be used."),
    "reconciler_leader": Described("gauge", ("target",), "1 where this process writes to the target."),
    "reconciler_last_success_timestamp_seconds": Described("gauge", ("target",), "When a pass succeeded last."),
    "reconciler_pass_failing": Described("gauge", ("target",), "1 while passes fail."),
    "reconciler_guard_refused": Described("gauge", ("target",), "1 while a guard holds changes back."),
    "reconciler_changes_waiting": Described("gauge", ("target",), "Changes that are held, or are tried again."),
    "reconciler_gateways": Described("gauge", ("status", "target", "type"), "Gateways by condition."),
    "reconciler_gateway_ready": Described("gauge", ("gateway", "target"), "1 ready, 0 not, -1 unknown."),
    "reconciler_gateway_suspended_until_timestamp_seconds": Described(
        "gauge", ("gateway", "target"), "Until when a gateway is left alone."
    ),
    "reconciler_certificate_not_after_timestamp_seconds": Described(
        "gauge", ("sha256", "subject", "target"), "When a CA certificate in use expires."
    ),
    "reconciler_probes_waiting": Described("gauge", (), "Looks at upstreams that wait for their turn."),
    "reconciler_probes_running": Described("gauge", (), "Looks at upstreams that are under way."),
    "reconciler_start_timestamp_seconds": Described("gauge", (), "When the daemon began."),
}
"""Every metric there is. `docs/metrics.md` is made from it."""

Sample = tuple[tuple[str, ...], float]
_READY: Final = {"True": 1.0, "False": 0.0, "Unknown": -1.0}


class BoardCollector(Collector):
    """The board, as samples."""

    def __init__(self, board: Board, pool: ProbePool) -> None:
        self._board = board
        self._pool = pool

    def collect(self) -> Iterable[Metric]:
        """Return every metric of the table that has samples."""
        yield from self._counters()
        yield from self._histograms()
        gauges: defaultdict[str, list[Sample]] = defaultdict(list)
        for name, labels, value in self._gauges():
            gauges[name].append((labels, value))
        for name, samples in gauges.items():
            family = GaugeMetricFamily(name, METRICS[name].help, labels=METRICS[name].labels)
            for labels, value in samples:
                family.add_metric(labels, value)
            yield family

    def _counters(self) -> Iterator[Metric]:
        families: dict[str, CounterMetricFamily] = {}
        for (name, labels), value in self._board.counts().items():
            described = METRICS[name]
            family = families.setdefault(name, CounterMetricFamily(name, described.help, labels=described.labels))
            family.add_metric([text for _, text in labels], value)
        yield from families.values()

    def _histograms(self) -> Iterator[Metric]:
        families: dict[str, HistogramMetricFamily] = {}
        for (name, labels), (buckets, total) in self._board.durations().items():
            described = METRICS[name]
            family = families.setdefault(name, HistogramMetricFamily(name, described.help, labels=described.labels))
            family.add_metric([text for _, text in labels], _cumulated(buckets), total)
        yield from families.values()

    def _gauges(self) -> Iterator[tuple[str, tuple[str, ...], float]]:
        tree = self._board.tree
        yield "reconciler_start_timestamp_seconds", (), self._board.started_at.timestamp()
        yield "reconciler_tree_broken", (), float(tree.broken or bool(tree.trouble))
        yield "reconciler_tree_gateways", (), tree.gateways
        yield "reconciler_commit_distrusted", (), float(bool(tree.distrusted))
        yield from _moment("reconciler_tree_read_timestamp_seconds", tree.read_at)
        yield from _moment("reconciler_pull_timestamp_seconds", tree.pulled_at)
        severities = Counter(problem.severity.value for problem in tree.problems)
        for severity in ("error", "warning", "info"):
            yield "reconciler_tree_problems", (severity,), severities[severity]
        waiting, running = self._pool.backlog
        yield "reconciler_probes_waiting", (), waiting
        yield "reconciler_probes_running", (), running
        for name, state in self._board.targets().items():
            yield from _of_target(state)
            yield from _of_rows(name, self._board.rows(name))


def expose(board: Board, pool: ProbePool) -> bytes:
    """Return the metrics in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(BoardCollector(board, pool))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def _of_target(state: TargetState) -> Iterator[tuple[str, tuple[str, ...], float]]:
    label = (state.name,)
    yield "reconciler_leader", label, float(state.role != "follower")
    yield "reconciler_pass_failing", label, float(bool(state.trouble))
    yield "reconciler_guard_refused", label, float(bool(state.refused))
    yield "reconciler_changes_waiting", label, state.waiting
    yield from _moment("reconciler_last_success_timestamp_seconds", state.last_success, label)


def _of_rows(target: str, rows: dict[str, Row]) -> Iterator[tuple[str, tuple[str, ...], float]]:
    statuses: Counter[tuple[str, str]] = Counter()
    certificates: dict[str, tuple[str, float]] = {}
    for name, row in rows.items():
        for condition in row.standing.conditions:
            statuses[condition.status, condition.type] += 1
        yield "reconciler_gateway_ready", (name, target), _READY[row.standing.conditions[0].status]
        if row.suspension is not None:
            until = row.suspension.until.timestamp()
            yield "reconciler_gateway_suspended_until_timestamp_seconds", (name, target), until
        for certificate in row.standing.certificates:
            certificates[certificate.sha256] = (certificate.subject, certificate.not_after.timestamp())
    for (status, kind), count in statuses.items():
        yield "reconciler_gateways", (status, target, kind), count
    for sha256, (subject, not_after) in certificates.items():
        yield "reconciler_certificate_not_after_timestamp_seconds", (sha256[:16], subject, target), not_after


def _moment(
    name: str, at: datetime | None, labels: tuple[str, ...] = ()
) -> Iterator[tuple[str, tuple[str, ...], float]]:
    if at is not None:
        yield name, labels, at.timestamp()


def _cumulated(buckets: list[int]) -> list[tuple[str, float]]:
    total, found = 0, []
    for bound, count in zip([*map(str, BUCKETS), "+Inf"], buckets, strict=True):
        total += count
        found.append((bound, float(total)))
    return found
