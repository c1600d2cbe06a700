"""The launchers that a plan is exported for, by name."""

from planner.export.launcher import Launcher
from planner.export.launchers import azureml, gcp_tpu, kubernetes, sagemaker, skypilot, slurm, torchrun

LAUNCHERS: dict[str, Launcher] = {
    module.LAUNCHER.name: module.LAUNCHER
    for module in (slurm, torchrun, kubernetes, skypilot, sagemaker, azureml, gcp_tpu)
}
