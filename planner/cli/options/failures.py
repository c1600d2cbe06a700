"""Options that tell how often parts fail and how checkpoints are kept; for every command that tells goodput."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from planner.errors import InputError

if TYPE_CHECKING:
    from planner.cluster.build.reliability import Reliability
    from planner.cluster.model.cluster import Cluster
    from planner.units import Dimension

FailuresOption = Annotated[
    bool,
    typer.Option("--failures/--no-failures", help="Tell what failures leave of the first plan."),
]
MtbfDeviceOption = Annotated[
    str | None,
    typer.Option("--mtbf-device", help="Mean time between failures of a device: 50000h, 5y."),
]
MtbfNodeOption = Annotated[
    str | None,
    typer.Option("--mtbf-node", help="The same of a node without its devices."),
]
CheckpointBandwidthOption = Annotated[
    str | None,
    typer.Option("--checkpoint-bandwidth", help="What the storage takes from the job: 200GB/s."),
]
RestartTimeOption = Annotated[
    str | None,
    typer.Option("--restart-time", help="From a failure to the reading of the checkpoint: 10min."),
]
RepairTimeOption = Annotated[str | None, typer.Option("--repair-time", help="Until a failed node is a spare again.")]
SparesOption = Annotated[
    str | None,
    typer.Option(
        "--spares",
        metavar="INTEGER",
        help="Nodes beside those of the plan; else as many as pay off.",
    ),
]
AsyncCheckpointOption = Annotated[
    bool | None,
    typer.Option(
        "--async-checkpoint/--sync-checkpoint",
        help="Write checkpoints beside the training; else as the cluster's file says, or stop for them.",
    ),
]
ShrinkOption = Annotated[
    bool,
    typer.Option("--shrink", help="Without spares go on with fewer replicas, not wait for the repair."),
]

_OPTION_FIGURES: dict[str, tuple[Dimension, tuple[str, ...]]] = {
    "mtbf_device": ("duration", ("device_mtbf_s",)),
    "mtbf_node": ("duration", ("node_mtbf_s",)),
    "checkpoint_bandwidth": ("bytes_per_s", ("write_bytes_per_s", "read_bytes_per_s")),
    "restart_time": ("duration", ("restart_s",)),
    "repair_time": ("duration", ("repair_s",)),
}
"""What each option is a figure of, and the fields that it sets. A restart's time contains the detection."""


@dataclass(frozen=True)
class FailureOptions:
    """The options as the user gave them."""

    failures: FailuresOption = True
    mtbf_device: MtbfDeviceOption = None
    mtbf_node: MtbfNodeOption = None
    checkpoint_bandwidth: CheckpointBandwidthOption = None
    restart_time: RestartTimeOption = None
    repair_time: RepairTimeOption = None
    spares: SparesOption = None
    async_checkpoint: AsyncCheckpointOption = None
    shrink: ShrinkOption = False

    @property
    def given_names(self) -> list[str]:
        """The options that say something of failures, by name."""
        option_values = vars(self)
        return [name for name in option_values if name != "failures" and option_values[name] not in (None, False)]


def read_reliability(options: FailureOptions, cluster: Cluster) -> Reliability | None:
    """The cluster's reliability with what the options say of it, or None without. Raises InputError."""
    given_names, option_values = options.given_names, vars(options)
    if not options.failures:
        if given_names:
            key = f"--{given_names[0].replace('_', '-')}"
            raise InputError("is of failures", key=f"--no-failures, {key}", expected="one of the two")
        return None
    from planner.cli.input.inputs import read_whole_number
    from planner.cluster.build.reliability import Told, resolve_reliability
    from planner.cluster.model.reliability_spec import MOST_SPARES

    figures: dict[str, tuple[float, str]] = {}
    for name, (dimension, fields) in _OPTION_FIGURES.items():
        if option_values[name] is not None:
            figures |= _read_figure(name, str(option_values[name]), dimension, fields)
    if "restart_s" in figures:
        figures["detection_s"] = (0.0, figures["restart_s"][1])
    overrides = Told(
        figures,
        read_whole_number(options.spares, "--spares", minimum=0, maximum=MOST_SPARES),
        options.async_checkpoint,
        options.shrink,
    )
    return resolve_reliability(cluster, overrides)


def _read_figure(name: str, text: str, dimension: Dimension, fields: tuple[str, ...]) -> dict[str, tuple[float, str]]:
    """One option's figure, by the fields that it sets. Raises InputError for one that no machine has."""
    from planner.hardware.figures import positive
    from planner.units import parse_quantity

    key = f"--{name.replace('_', '-')}"
    parse_quantity(text, dimension, key=key, allow_bare=False)
    value = positive(text, dimension, origin="", key=key)
    return dict.fromkeys(fields, (value, key))
