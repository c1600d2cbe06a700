"""Names of nodes in clouds, by the accelerator's name in hardware_db and the number of accelerators in a node.

SageMaker: the training instance types of its API (botocore, sagemaker, TrainingInstanceType), sizes of
docs.aws.amazon.com/ec2. Azure: learn.microsoft.com/azure/virtual-machines/sizes, "GPU accelerated", names as in
github.com/Azure/azhpc-images. SkyPilot: canonical names of its catalogue. TPUs: cloud.google.com/tpu/docs, the page
of each generation; a type counts TensorCores, which v2 to v4 and v5p have two of per chip.
"""

from __future__ import annotations

from planner.export.run import PlannedRun

_SAGEMAKER_INSTANCES = {
    ("v100-sxm2-16gb", 8): "ml.p3.16xlarge",
    ("v100-sxm2-32gb", 8): "ml.p3dn.24xlarge",
    ("a100-sxm-40gb", 8): "ml.p4d.24xlarge",
    ("a100-sxm-80gb", 8): "ml.p4de.24xlarge",
    ("h100-sxm-80gb", 8): "ml.p5.48xlarge",
    ("h200-sxm", 8): "ml.p5en.48xlarge",
    ("b200", 8): "ml.p6-b200.48xlarge",
    ("b300", 8): "ml.p6-b300.48xlarge",
    ("gb200", 4): "ml.p6e-gb200.36xlarge",
    ("a10", 8): "ml.g5.48xlarge",
    ("l4", 8): "ml.g6.48xlarge",
    ("l40s", 8): "ml.g6e.48xlarge",
}
_AZURE_VM_SIZES = {
    ("v100-sxm2-32gb", 8): "Standard_ND40rs_v2",
    ("a100-sxm-40gb", 8): "Standard_ND96asr_v4",
    ("a100-sxm-80gb", 8): "Standard_ND96amsr_A100_v4",
    ("h100-sxm-80gb", 8): "Standard_ND96isr_H100_v5",
    ("h200-sxm", 8): "Standard_ND96isr_H200_v5",
    ("mi300x", 8): "Standard_ND96isr_MI300X_v5",
    ("gb200", 4): "Standard_ND128isr_NDR_GB200_v6",
    ("gb300", 4): "Standard_ND128isr_GB300_v6",
}
_SKYPILOT_ACCELERATORS = {
    "v100-sxm2-16gb": "V100",
    "v100-sxm2-32gb": "V100-32GB",
    "a100-sxm-40gb": "A100",
    "a100-sxm-80gb": "A100-80GB",
    "h100-sxm-80gb": "H100",
    "h200-sxm": "H200",
    "b200": "B200",
    "gb200": "GB200",
    "a10": "A10G",
    "t4": "T4",
    "l4": "L4",
    "l40s": "L40S",
    "mi300x": "MI300X",
}
_TPU_TYPES = {
    "tpu-v2": ("v2", 2, "tpu-ubuntu2204-base"),
    "tpu-v3": ("v3", 2, "tpu-ubuntu2204-base"),
    "tpu-v4": ("v4", 2, "tpu-ubuntu2204-base"),
    "tpu-v5e": ("v5litepod", 1, "v2-alpha-tpuv5-lite"),
    "tpu-v5p": ("v5p", 2, "v2-alpha-tpuv5"),
    "tpu-v6e": ("v6e", 1, "v2-alpha-tpuv6e"),
}
"""The prefix of a type, the units that it counts per chip, and the runtime version."""


def find_sagemaker_instance(run: PlannedRun) -> str | None:
    """The instance type of the plan's node; None where SageMaker has none."""
    return _SAGEMAKER_INSTANCES.get((run.accelerator.name, run.devices_per_node))


def find_azure_vm_size(run: PlannedRun) -> str | None:
    """The size of the virtual machines for the plan's node; None where Azure has none."""
    return _AZURE_VM_SIZES.get((run.accelerator.name, run.devices_per_node))


def find_skypilot_accelerator(run: PlannedRun) -> str | None:
    """The accelerator's name; None where it is not in SkyPilot's catalogue."""
    tpu_slice = find_tpu_slice(run)
    return f"tpu-{tpu_slice[0]}" if tpu_slice else _SKYPILOT_ACCELERATORS.get(run.accelerator.name)


def find_tpu_slice(run: PlannedRun) -> tuple[str, str] | None:
    """Type and runtime version of a slice with all of the plan's chips; None where Cloud TPU has none."""
    if run.accelerator.name not in _TPU_TYPES:
        return None
    type_prefix, cores_per_chip, runtime_version = _TPU_TYPES[run.accelerator.name]
    return f"{type_prefix}-{cores_per_chip * run.devices}", runtime_version


def format_known_machines(launcher_name: str) -> str:
    """The nodes or accelerators of a cloud, for messages."""
    tables = {"sagemaker": _SAGEMAKER_INSTANCES, "azureml": _AZURE_VM_SIZES}
    if launcher_name in tables:
        return ", ".join(f"{count} x {name}" for name, count in tables[launcher_name])
    return ", ".join(_TPU_TYPES) if launcher_name == "gcp-tpu" else ", ".join([*_SKYPILOT_ACCELERATORS, *_TPU_TYPES])
