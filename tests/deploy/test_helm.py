"""The chart: rendered by Helm's own library, held against Kubernetes' own schemas."""

import json
import shutil
import subprocess
from typing import Any

import helm_python
import jsonschema
import kubernetes_validate
import pytest
import yaml

from deploy.local import compose
from tests.support import ROOT

CHART = ROOT / "deploy" / "helm"
NEWEST = "1.37"
SECRETS = dict.fromkeys(
    ("SECRET_KEY", "FIELD_ENCRYPTION_KEYS", "DATABASE_URL", "REDIS_URL"), "given"
)
SCALES = {"autoscaling": {"enabled": True}}
ALL = {
    "existingSecret": "kept-elsewhere",
    "image": {"digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "registry"}],
    "regions": ["us-east-1", "us-west-2", "eu-west-1"],
    "processes": {"web": SCALES, "live": SCALES, "worker": SCALES},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "tlsSecret": "site",
        "annotations": {"a/b": "c"},
    },
    "front": {
        "proxies": "10.1.0.0/16 10.2.0.0/16",
        "service": {"type": "LoadBalancer"},
    },
    "metrics": {"podMonitor": True},
    "networkPolicy": {"enabled": True},
    "nodeSelector": {"pool": "general"},
    "tolerations": [{"key": "pool", "operator": "Exists"}],
    "podAnnotations": {"a/b": "c"},
}
TEXT, WHOLE, TEXTS = (
    {"type": "string"},
    {"type": "integer", "minimum": 0},
    {"type": "array", "items": {"type": "string"}},
)


def only(required: tuple[str, ...] = (), /, **fields: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": fields,
        "additionalProperties": False,
    }


# What we use of KEDA's and the Prometheus operator's definitions; the kinds are
# described at https://keda.sh/docs/latest/reference/scaledobject-spec/ and
# https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.PodMonitor.
FOREIGN = {
    "ScaledObject": only(
        ("scaleTargetRef", "triggers"),
        scaleTargetRef=only(("name",), name=TEXT),
        minReplicaCount=WHOLE,
        maxReplicaCount=WHOLE,
        cooldownPeriod=WHOLE,
        fallback=only(
            ("failureThreshold", "replicas"), failureThreshold=WHOLE, replicas=WHOLE
        ),
        triggers={
            "type": "array",
            "items": only(
                ("type", "metadata"),
                type={"const": "prometheus"},
                metadata=only(
                    ("serverAddress", "query", "threshold"),
                    serverAddress=TEXT,
                    query=TEXT,
                    threshold=TEXT,
                ),
            ),
        },
    ),
    "PodMonitor": only(
        ("podMetricsEndpoints", "selector"),
        selector=only(matchLabels={"additionalProperties": TEXT}),
        podTargetLabels=TEXTS,
        podMetricsEndpoints={
            "type": "array",
            "items": only(
                port=TEXT,
                relabelings={
                    "type": "array",
                    "items": only(
                        sourceLabels=TEXTS,
                        regex=TEXT,
                        targetLabel=TEXT,
                        replacement=TEXT,
                    ),
                },
            ),
        },
    ),
}


def render(values: dict[str, Any]) -> list[dict[str, Any]]:
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(values, name="demo", namespace="prod")
    return [
        made for text in files.values() for made in yaml.safe_load_all(text) if made
    ]


@pytest.fixture(scope="module", params=["least", "all"])
def manifests(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return render({"secrets": SECRETS} if request.param == "least" else ALL)


def named(manifests: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {
        made["metadata"]["name"]: made for made in manifests if made["kind"] == kind
    }


def pods(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    owners = named(manifests, "Deployment") | named(manifests, "Job")
    return {name: owner["spec"]["template"] for name, owner in owners.items()}


def test_helm_finds_nothing_to_say():
    report = helm_python.lint(CHART, {"secrets": SECRETS}, strict=True)

    assert report["errors"] == []
    assert [m for m in report["messages"] if m["severity"] > 1] == []


def test_kubernetes_takes_every_manifest(manifests):
    for made in manifests:
        if made["kind"] in FOREIGN:
            jsonschema.validate(made["spec"], FOREIGN[made["kind"]])
        else:
            kubernetes_validate.validate(made, NEWEST, strict=True)
    names = [(made["kind"], made["metadata"]["name"]) for made in manifests]
    assert len(names) == len(set(names))


def test_the_check_finds_what_kubernetes_would_refuse():
    deployment = next(
        m for m in render({"secrets": SECRETS}) if m["kind"] == "Deployment"
    )
    deployment["spec"]["template"]["spec"]["terminationGracePeriod"] = 5

    with pytest.raises(jsonschema.ValidationError):
        kubernetes_validate.validate(deployment, NEWEST, strict=True)


def test_commands_are_those_of_the_compose_file(manifests):
    values = dict.fromkeys(
        (
            "POSTGRES_PASSWORD",
            "REDIS_PASSWORD",
            "S3_ACCESS_KEY",
            "S3_SECRET_KEY",
            "FLOWER_BASIC_AUTH",
        ),
        "x",
    )
    made = pods(manifests)
    for service in compose.read_services(values):
        if service.name == "emulator":
            continue
        name = {"worker": "demo-worker-us-east-1"}.get(
            service.name, f"demo-{service.name}"
        )
        container = made[name]["spec"]["containers"][0]
        assert tuple(container["command"]) == service.command


def test_no_process_is_killed_over_its_longest_work(manifests):
    values = dict.fromkeys(
        (
            "POSTGRES_PASSWORD",
            "REDIS_PASSWORD",
            "S3_ACCESS_KEY",
            "S3_SECRET_KEY",
            "FLOWER_BASIC_AUTH",
        ),
        "x",
    )
    grace = {
        name: pod["spec"].get("terminationGracePeriodSeconds")
        for name, pod in pods(manifests).items()
    }
    for service in compose.read_services(values):
        if service.name in {"web", "live", "webhooks", "dispatcher"}:
            assert grace[f"demo-{service.name}"] >= service.grace
        if service.name == "worker":
            workers = [value for name, value in grace.items() if "-worker-" in name]
            assert min(workers) >= service.grace
    assert grace["demo-front"] >= grace["demo-web"]


def test_no_pod_may_more_than_it_needs(manifests):
    for pod in pods(manifests).values():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"]
        for container in spec["containers"]:
            own = container["securityContext"]
            assert own["readOnlyRootFilesystem"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_every_process_is_asked_whether_it_gets_on(manifests):
    for name, owner in named(manifests, "Deployment").items():
        container = owner["spec"]["template"]["spec"]["containers"][0]
        probes = {key for key in container if key.endswith("Probe")}
        assert probes, name
        if "exec" in container.get("livenessProbe", {}):
            words = container["livenessProbe"]["exec"]["command"]
            assert words == ["python", "manage.py", "probe", container["name"]]


def test_whoever_selects_pods_finds_some(manifests):
    labels = [pod["metadata"]["labels"].items() for pod in pods(manifests).values()]
    for made in manifests:
        spec = made.get("spec", {})
        wanted = spec.get("podSelector") or spec.get("selector") or {}
        wanted = wanted.get("matchLabels", wanted)
        if made["kind"] in {
            "Service",
            "PodDisruptionBudget",
            "NetworkPolicy",
            "PodMonitor",
        }:
            assert any(wanted.items() <= each for each in labels), made["metadata"]


def test_each_region_has_its_workers():
    made = named(render(ALL), "Deployment")

    for region in ALL["regions"]:
        container = made[f"demo-worker-{region}"]["spec"]["template"]["spec"][
            "containers"
        ][0]
        assert f"--queues=transcribe.{region}" in container["command"]


def test_who_scales_by_itself_has_no_fixed_number():
    made = render(ALL)

    assert "replicas" not in named(made, "Deployment")["demo-web"]["spec"]
    assert set(named(made, "HorizontalPodAutoscaler")) == {"demo-web", "demo-live"}
    assert set(named(made, "ScaledObject")) == {
        f"demo-worker-{r}" for r in ALL["regions"]
    }


def test_the_migration_runs_first_with_what_it_needs(manifests):
    job = next(made for made in manifests if made["kind"] == "Job")
    container = job["spec"]["template"]["spec"]["containers"][0]
    weights = {}
    for made in manifests:
        hooks = made["metadata"].get("annotations", {})
        if hooks.get("helm.sh/hook") == "pre-install,pre-upgrade":
            weights[made["kind"], made["metadata"]["name"]] = int(
                hooks["helm.sh/hook-weight"]
            )

    own = weights.pop(("Job", "demo-migrate"))
    assert all(weight < own for weight in weights.values())
    assert ("ConfigMap", container["envFrom"][0]["configMapRef"]["name"]) in weights
    secret = container["envFrom"][1]["secretRef"]["name"]
    assert secret == "kept-elsewhere" or ("Secret", secret) in weights


def test_the_front_door_is_the_one_of_the_compose_file(manifests, tmp_path):
    text = named(manifests, "ConfigMap")["demo-front"]["data"]["haproxy.cfg"]
    assert '"demo-web.prod.svc.cluster.local:8000"' in text
    assert text.replace("demo-web.prod.svc.cluster.local", "web").replace(
        "demo-live.prod.svc.cluster.local", "live"
    ) == (compose.HAPROXY.read_text())
    if not shutil.which("haproxy"):
        pytest.skip("haproxy is not installed: the chart's haproxy.cfg is NOT tested")
    container = named(manifests, "Deployment")["demo-front"]["spec"]["template"][
        "spec"
    ]["containers"][0]
    environment = {each["name"]: each["value"] for each in container["env"]}
    (tmp_path / "haproxy.cfg").write_text(text)

    done = subprocess.run(
        ["haproxy", "-c", "-V", "-f", tmp_path / "haproxy.cfg"],
        env={"PATH": "/usr/sbin:/usr/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_workers_scale_by_a_figure_that_there_is():
    query = named(render(ALL), "ScaledObject")["demo-worker-us-east-1"]["spec"][
        "triggers"
    ][0]
    metric = query["metadata"]["query"].partition("(")[2].rstrip(")")

    assert f"`{metric}`" in (ROOT / "docs" / "metrics.md").read_text()


def test_values_name_only_settings_that_there_are():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    example = (ROOT / ".env.example").read_text()

    for name in values["settings"]:
        assert f"\n{name}=" in example


@pytest.mark.parametrize(
    "wrong",
    [
        {"processes": {"beat": {"replicas": 2}}},
        {"processes": {"worker": {"replica": 2}}},
        {"image": {"tag": "latest"}},
        {"regions": []},
        {"settings": {"LEASE_SECONDS": 30}},
        {"front": {"image": "haproxy:latest"}},
    ],
    ids=json.dumps,
)
def test_values_that_make_no_sense_are_refused(wrong):
    with helm_python.Chart.load(CHART) as chart, pytest.raises(helm_python.HelmError):
        chart.validate_schema(chart.merge_values({"secrets": SECRETS} | wrong))


@pytest.mark.parametrize("name", SECRETS)
def test_nothing_is_rendered_without_secrets(name):
    with pytest.raises(helm_python.HelmError, match=name):
        render({"secrets": {**SECRETS, name: ""}})
