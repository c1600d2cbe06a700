"""The launchers that a plan is exported for, by name."""

from planner.export.launcher import Launcher
from planner.export.launchers import (
    azureml,
    gcp_tpu,
    kubernetes,
    sagemaker,
    skypilot,
    slurm,
    torchrun,
)

LAUNCHERS: dict[str, Launcher] = {
    launcher.name: launcher
    for launcher in (
        slurm.LAUNCHER,
        torchrun.LAUNCHER,
        kubernetes.LAUNCHER,
        skypilot.LAUNCHER,
        sagemaker.LAUNCHER,
        azureml.LAUNCHER,
        gcp_tpu.LAUNCHER,
    )
}
