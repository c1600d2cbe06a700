"""The launchers that a plan is exported for, by name."""

from planner.export.launcher import Launcher
from planner.export.launchers import kubernetes, slurm, torchrun

LAUNCHERS: dict[str, Launcher] = {one.name: one for one in (slurm.LAUNCHER, torchrun.LAUNCHER, kubernetes.LAUNCHER)}
