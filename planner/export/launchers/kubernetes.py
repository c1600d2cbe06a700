"""Kubernetes: an indexed Job with a pod a node, a Service by which pods find the first, the files as a ConfigMap.

Fields: the API reference of batch/v1 and v1 (kubernetes.io/docs/reference/kubernetes-api). A pod of an indexed Job
has its index as an annotation and, below the Service, the host name JOB-INDEX (kubernetes.io/docs/concepts/workloads/
controllers/job, "Indexed").
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.errors import InputError
from planner.export.images import image_field
from planner.export.launcher import (
    Field,
    Job,
    Launcher,
    any_trainer,
    limit_s,
    unordered,
)
from planner.export.run import Run
from planner.export.shell import PORT, TRAIN, about_plan
from planner.export.trainer import Files
from planner.export.yaml_json import to_yaml

NAME = "kubernetes"

_RESOURCES = {
    ("NVIDIA", "gpu"): "nvidia.com/gpu",
    ("AMD", "gpu"): "amd.com/gpu",
    ("Intel", "gpu"): "gpu.intel.com/i915",
    ("Google", "tpu"): "google.com/tpu",
    ("Intel", "npu"): "habana.ai/gaudi",
    ("AWS", "npu"): "aws.amazon.com/neuron",
    ("Huawei", "npu"): "huawei.com/Ascend910",
}
"""What device plugins call an accelerator."""
_INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"


def _fields(run: Run) -> tuple[Field, ...]:
    known = _RESOURCES.get((run.part.vendor, run.part.kind), "" if run.part.kind == "cpu" else "RESOURCE")
    return (
        image_field(run),
        Field("resource", known, "what the device plugin calls the accelerator"),
        Field("namespace", "", "namespace of the job"),
        Field("service-account", "", "service account of the pods"),
        Field("claim", "", "persistent volume claim, mounted at /data"),
        Field("node-selector", "", "labels of the nodes, KEY=VALUE,..."),
    )


def _files(job: Job) -> Files:
    documents = [_config_map(job), _service(job), _job(job)]
    return {
        "kubernetes.yaml": to_yaml(
            [*about_plan(job.run, job.trainer), "kubectl apply -f kubernetes.yaml"], *documents
        )
    }


def _metadata(job: Job) -> dict[str, object]:
    found: dict[str, object] = {"name": job.run.name}
    return {**found, "namespace": job.values["namespace"]} if job.values["namespace"] else found


def _config_map(job: Job) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(job), "data": dict(job.files)}


def _service(job: Job) -> dict[str, object]:
    """Without an address of its own: it only gives the pods their names."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(job),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"batch.kubernetes.io/job-name": job.run.name},
        },
    }


def _job(job: Job) -> dict[str, object]:
    run, limit = job.run, limit_s(job.run)
    spec: dict[str, object] = {
        "completionMode": "Indexed",
        "completions": run.nodes,
        "parallelism": run.nodes,
        "backoffLimit": 0,
    }
    if limit is not None:
        spec["activeDeadlineSeconds"] = limit
    spec["template"] = {"spec": _pod(job)}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": _metadata(job), "spec": spec}


def _pod(job: Job) -> dict[str, object]:
    run, values = job.run, job.values
    mounts = [{"name": "plan", "mountPath": "/plan"}, {"name": "shm", "mountPath": "/dev/shm"}]
    # collectives inside a node go through shared memory
    volumes: list[dict[str, object]] = [
        {"name": "plan", "configMap": {"name": run.name}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
    ]
    if values["claim"]:
        mounts.append({"name": "data", "mountPath": "/data"})
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": values["claim"]}})
    pod: dict[str, object] = {"restartPolicy": "Never", "subdomain": run.name}
    if values["service-account"]:
        pod["serviceAccountName"] = values["service-account"]
    if values["node-selector"]:
        pod["nodeSelector"] = _labels(values["node-selector"])
    if run.hosts:
        pod["affinity"] = _only_on(run.hosts)
    pod["containers"] = [_container(job, mounts)]
    pod["volumes"] = volumes
    return pod


def _labels(text: str) -> dict[str, str]:
    """Labels of nodes. Raises InputError for one that is no KEY=VALUE."""
    found = {}
    for label in text.split(","):
        key, sign, value = label.strip().partition("=")
        if not (key and sign):
            expected = "KEY=VALUE, several with commas between"
            raise InputError("not a label", key="--with node-selector", value=label, expected=expected)
        found[key] = value
    return found


def _container(job: Job, mounts: list[dict[str, str]]) -> dict[str, object]:
    run = job.run
    found: dict[str, object] = {
        "name": "train",
        "image": job.values["image"],
        "command": ["bash", f"/plan/{TRAIN}"],
        "env": [
            {"name": "NODE_RANK", "valueFrom": {"fieldRef": {"fieldPath": _INDEX}}},
            {"name": "MASTER_ADDR", "value": f"{run.name}-0.{run.name}"},
            {"name": "MASTER_PORT", "value": str(PORT)},
        ],
        "volumeMounts": mounts,
    }
    if job.values["resource"]:
        found["resources"] = {"limits": {job.values["resource"]: run.devices_per_node}}
    return found


def _only_on(hosts: tuple[str, ...]) -> dict[str, object]:
    """Pods go to these hosts, in whatever order."""
    rule = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(hosts)}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def _notes(run: Run) -> Iterator[str]:
    yield from unordered(run)
    if run.part.kind == "tpu":
        yield (
            "GKE chooses a slice by labels: --with node-selector=cloud.google.com/gke-tpu-accelerator=...,"
            "cloud.google.com/gke-tpu-topology=..."
        )


LAUNCHER = Launcher(NAME, _fields, any_trainer, _notes, _files)
