"""What is deployed beside the daemon agrees with it, and the runbook with the alerts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from reconciler.cli.watch import watch
from reconciler.daemon.web.metrics import METRICS

PROJECT = Path(__file__).parents[2]
ALERTS: list[dict[str, Any]] = yaml.safe_load((PROJECT / "deploy/prometheus/alerts.yaml").read_text())["groups"][0][
    "rules"
]
RUNBOOK = (PROJECT / "docs/runbook.md").read_text()
DAEMON = (PROJECT / "docs/daemon.md").read_text()
DASHBOARD = json.loads((PROJECT / "deploy/grafana/dashboard.json").read_text())
_SUFFIXES = re.compile(r"_(bucket|sum|count)$")


def metrics_in(text: str) -> set[str]:
    return {_SUFFIXES.sub("", name) for name in re.findall(r"\breconciler_[a-z_]+\b", text)}


def test_the_runbook_answers_every_alert_and_nothing_else() -> None:
    chapters = re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE)
    assert chapters == [alert["alert"] for alert in ALERTS]
    for alert in ALERTS:
        assert alert["annotations"]["runbook"] == f"docs/runbook.md#{alert['alert'].lower()}"


def test_alerts_and_dashboard_use_metrics_and_labels_that_there_are() -> None:
    expressions = [alert["expr"] for alert in ALERTS]
    expressions += [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    for expression in expressions:
        assert metrics_in(expression) <= METRICS.keys(), expression
    for alert in ALERTS:
        known = {label for name in metrics_in(alert["expr"]) for label in METRICS[name].labels}
        shown = set(re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"]))
        assert shown <= known, alert["alert"]


def test_labels_are_in_the_order_in_which_they_are_counted() -> None:
    assert all(list(each.labels) == sorted(each.labels) for each in METRICS.values())


def test_every_option_that_is_written_about_exists() -> None:
    options = {name for parameter in watch.params for name in (*parameter.opts, *parameter.secondary_opts)}
    service = (PROJECT / "deploy/systemd/mcp-gateway-reconciler.service").read_text()
    text = DAEMON + "".join(line for line in service.splitlines() if line.startswith("ExecStart="))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= options
    container = (PROJECT / "deploy/container/Containerfile").read_text()
    twins = {f"RECONCILER_{name.lstrip('-').replace('-', '_').upper()}" for name in options}
    used = set(re.findall(r"RECONCILER_[A-Z_]+(?==)", container))
    assert used - {"RECONCILER_CACHE_DIR", "RECONCILER_SIGNING_KEY_FILE"} <= twins


def test_events_are_documented() -> None:
    source = "".join(file.read_text() for file in (PROJECT / "reconciler/daemon").glob("*.py"))
    told = set(
        re.findall(r'"((?:[A-Z][a-z]+){1,3}(?:Healed|Broken|Unreadable|Refused|Unusable|Failed|Trusted))"', source)
    )
    assert told
    assert all(f"`{reason}`" in DAEMON for reason in told)
