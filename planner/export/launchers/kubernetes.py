"""Kubernetes: an indexed Job with a pod per node, a Service that names the pods, and the files as a ConfigMap.

Fields: the API reference of batch/v1 and v1 (kubernetes.io/docs/reference/kubernetes-api). A pod of an indexed Job
has its index as an annotation and, below the Service, the host name JOB-INDEX (kubernetes.io/docs/concepts/workloads/
controllers/job, "Indexed").
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.errors import InputError
from planner.export.launcher import (
    Launcher,
    LauncherField,
    LaunchJob,
    build_host_order_note,
    build_image_field,
    compute_time_limit_s,
)
from planner.export.run import PlannedRun
from planner.export.text import format_yaml
from planner.export.trainer import MASTER_PORT, TRAIN_SCRIPT, FileTexts

_DEVICE_RESOURCES = {
    ("NVIDIA", "gpu"): "nvidia.com/gpu",
    ("AMD", "gpu"): "amd.com/gpu",
    ("Intel", "gpu"): "gpu.intel.com/i915",
    ("Google", "tpu"): "google.com/tpu",
    ("Intel", "npu"): "habana.ai/gaudi",
    ("AWS", "npu"): "aws.amazon.com/neuron",
    ("Huawei", "npu"): "huawei.com/Ascend910",
}
"""Names of accelerators in device plugins."""
_RESTARTS = 10
"""Failures of the job after which it is given up; in each the pods of all nodes may fail."""
_INDEX_ANNOTATION = "metadata.annotations['batch.kubernetes.io/job-completion-index']"


def _list_fields(run: PlannedRun) -> tuple[LauncherField, ...]:
    default_resource = _DEVICE_RESOURCES.get(
        (run.accelerator.vendor, run.accelerator.device_type),
        "" if run.accelerator.device_type == "cpu" else "RESOURCE",
    )
    return (
        build_image_field(run),
        LauncherField("resource", default_resource, "name of the accelerator in the device plugin"),
        LauncherField("namespace", "", "namespace of the job"),
        LauncherField("service-account", "", "service account of the pods"),
        LauncherField("claim", "", "persistent volume claim, mounted at /data: checkpoints outlive the pods"),
        LauncherField("node-selector", "", "labels of the nodes, KEY=VALUE,..."),
    )


def _build_files(job: LaunchJob) -> FileTexts:
    metadata = {"name": job.run.name}
    if job.field_values["namespace"]:
        metadata["namespace"] = job.field_values["namespace"]
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(job.files)}
    # a headless Service, which only gives the pods their host names
    service_spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {"batch.kubernetes.io/job-name": job.run.name},
    }
    service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service_spec}
    job_document = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": _build_job_spec(job)}
    lines = [*job.description, "kubectl apply -f kubernetes.yaml"]
    return {"kubernetes.yaml": format_yaml(lines, config_map, service, job_document)}


def _build_job_spec(job: LaunchJob) -> dict[str, object]:
    run, time_limit_s = job.run, compute_time_limit_s(job.run)
    spec: dict[str, object] = {
        "completionMode": "Indexed",
        "completions": run.nodes,
        "parallelism": run.nodes,
        "backoffLimit": _RESTARTS * run.nodes,
    }
    if time_limit_s is not None:
        spec["activeDeadlineSeconds"] = time_limit_s
    return spec | {"template": {"spec": _build_pod_spec(job)}}


def _build_pod_spec(job: LaunchJob) -> dict[str, object]:
    run, values = job.run, job.field_values
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
        pod["nodeSelector"] = _parse_node_labels(values["node-selector"])
    if run.hosts:
        pod["affinity"] = _build_host_affinity(run.hosts)
    pod["containers"] = [_build_container(job, mounts)]
    pod["volumes"] = volumes
    return pod


def _parse_node_labels(text: str) -> dict[str, str]:
    """Labels of nodes. Raises InputError for a label that is not KEY=VALUE."""
    labels = {}
    for label in text.split(","):
        key, separator, value = label.strip().partition("=")
        if not (key and separator):
            expected = "KEY=VALUE, several with commas between"
            raise InputError("not a label", key="--with node-selector", value=label, expected=expected)
        labels[key] = value
    return labels


def _build_container(job: LaunchJob, mounts: list[dict[str, str]]) -> dict[str, object]:
    run = job.run
    container: dict[str, object] = {
        "name": "train",
        "image": job.field_values["image"],
        "command": ["bash", f"/plan/{TRAIN_SCRIPT}"],
        "env": [
            {"name": "NODE_RANK", "valueFrom": {"fieldRef": {"fieldPath": _INDEX_ANNOTATION}}},
            {"name": "MASTER_ADDR", "value": f"{run.name}-0.{run.name}"},
            {"name": "MASTER_PORT", "value": str(MASTER_PORT)},
            # the folder of the files is read-only
            {"name": "CHECKPOINTS", "value": f"{'/data' if job.field_values['claim'] else '/tmp'}/{run.name}"},
        ],
        "volumeMounts": mounts,
    }
    if job.field_values["resource"]:
        container["resources"] = {"limits": {job.field_values["resource"]: run.devices_per_node}}
    return container


def _build_host_affinity(hosts: tuple[str, ...]) -> dict[str, object]:
    """Restrict the pods to these hosts, in any order."""
    rule = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(hosts)}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def _build_notes(run: PlannedRun) -> Iterator[str]:
    yield from build_host_order_note(run)
    if run.accelerator.device_type == "tpu":
        yield (
            "GKE chooses a slice by labels: --with node-selector=cloud.google.com/gke-tpu-accelerator=...,"
            "cloud.google.com/gke-tpu-topology=..."
        )


LAUNCHER = Launcher("kubernetes", _build_files, _list_fields, build_notes=_build_notes)
