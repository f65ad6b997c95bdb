"""What deploy/kubernetes has fits the published schemas, fits together, and asks for no more than it needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from reconciler.settings import load_settings
from reconciler.stores.kubernetes.fencing import lease_name
from reconciler.stores.kubernetes.objects import CONFIG_MAP, WRITTEN

if TYPE_CHECKING:
    from terminal import Terminal

DEPLOY = Path(__file__).parents[2] / "deploy/kubernetes"
KUSTOMIZATION = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
FILES = sorted(path for path in DEPLOY.glob("*.yaml") if path.name not in {"kustomization.yaml", "reconciler.yaml"})
OBJECTS = {path.name: yaml.safe_load(path.read_text()) for path in FILES}
NAME = "mcp-gateway-reconciler"
VERSIONS = ["1.30", "1.36"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_is_what_the_published_schema_says(name: str, version: str) -> None:
    kubernetes_validate.validate(OBJECTS[name], version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schemas_find_what_is_wrong(version: str) -> None:
    wrong = json.loads(json.dumps(OBJECTS["deployment.yaml"]))
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_the_kustomization_has_every_file_and_no_other() -> None:
    assert sorted(KUSTOMIZATION["resources"]) == sorted(OBJECTS)
    (generator,) = KUSTOMIZATION["configMapGenerator"]
    assert all((DEPLOY / each).is_file() for each in generator["files"])


def test_the_config_file_is_valid_and_names_a_store_that_there_is(terminal: Terminal) -> None:
    terminal.write("reconciler.yaml", (DEPLOY / "reconciler.yaml").read_text())
    kuadrant = {"hostname": "payments.mcp.example", "parentRef": {"name": "mcp-gateway"}}
    terminal.gateway("payments", transport="streamable-http", kuadrant=kuadrant)
    terminal("validate")


def test_the_role_covers_what_the_store_writes_and_nothing_else() -> None:
    rules = OBJECTS["role.yaml"]["rules"]
    granted = {(group, resource) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"]}
    groups = {(kind.api.rpartition("/")[0], kind.plural) for kind in (*WRITTEN, CONFIG_MAP)}
    assert granted == groups | {("coordination.k8s.io", "leases")}
    assert "*" not in str(rules)
    for rule in rules:
        read_only = rule["resources"] == ["configmaps"]
        watched = {"watch"} if rule["resources"] in (["secrets"], ["configmaps"]) else set()
        written = set() if read_only else {"create", "update", "patch", "delete"}
        assert set(rule["verbs"]) <= {"get", "list"} | watched | written


def _deployment() -> tuple[dict[str, Any], dict[str, Any]]:
    pod = OBJECTS["deployment.yaml"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return pod, container


def test_the_parts_name_each_other() -> None:
    pod, container = _deployment()
    labels = OBJECTS["deployment.yaml"]["spec"]["template"]["metadata"]["labels"]
    assert pod["serviceAccountName"] == OBJECTS["service-account.yaml"]["metadata"]["name"]
    assert OBJECTS["role-binding.yaml"]["roleRef"]["name"] == OBJECTS["role.yaml"]["metadata"]["name"]
    assert OBJECTS["role-binding.yaml"]["subjects"][0]["namespace"] == KUSTOMIZATION["namespace"]
    for selector in (
        OBJECTS["service.yaml"]["spec"]["selector"],
        OBJECTS["network-policy.yaml"]["spec"]["podSelector"]["matchLabels"],
        OBJECTS["deployment.yaml"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
    lease = next(rule for rule in OBJECTS["role.yaml"]["rules"] if "resourceNames" in rule)
    assert lease["resourceNames"] == [OBJECTS["lease.yaml"]["metadata"]["name"]]


def test_the_lease_is_that_of_the_target_and_two_share_nothing_else(terminal: Terminal) -> None:
    terminal.write("reconciler.yaml", (DEPLOY / "reconciler.yaml").read_text())
    assert OBJECTS["lease.yaml"]["metadata"]["name"] == lease_name(load_settings((), target="cluster").stamp_owner)
    pod, _ = _deployment()
    assert OBJECTS["deployment.yaml"]["spec"]["replicas"] == 2
    assert not any("persistentVolumeClaim" in each for each in pod["volumes"])


def test_the_daemon_is_probed_and_measured_on_its_port() -> None:
    _, container = _deployment()
    (port,) = container["ports"]
    assert port["containerPort"] == 8080
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": port["name"]}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": port["name"]}
    assert "0.0.0.0:8080" in container["args"]


def test_the_pod_may_do_nothing_that_it_need_not() -> None:
    pod, container = _deployment()
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = container["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_the_daemon_takes_the_arguments_that_it_is_given(terminal: Terminal) -> None:
    _, container = _deployment()
    known = terminal("watch", "--help").out
    assert container["args"][0] == "watch"
    assert all(each in known for each in container["args"] if each.startswith("--"))
