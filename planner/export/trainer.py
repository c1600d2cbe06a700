"""The interface of a trainer: its files, and `train.sh`, which runs a node's part of the job.

Every trainer writes a `train.sh`; every launcher runs it once on each node with NODE_RANK, MASTER_ADDR and
MASTER_PORT set. A launcher whose job ends before the run sets EXIT_MINUTES, after which a trainer that can saves a
checkpoint and stops. The numbers of nodes and devices are the plan's. What the trainer supports is stated in
`planner/trainers/`, as rules of its `Program`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from planner.export.huggingface import HUGGINGFACE_FILE, build_huggingface_config
from planner.export.run import PlannedRun
from planner.export.text import format_comments, format_exports, format_json, quote_words
from planner.trainers.names import ExportName
from planner.trainers.program import Program

FileTexts = dict[str, str]
"""Texts by the names of their files."""

TRAIN_SCRIPT = "train.sh"
MASTER_PORT = 29500
"""Port of the first node: torchrun's default."""
SCRIPT_USAGE_CHECK = 'if (( $# == 0 )); then\n  echo "usage: bash train.sh SCRIPT [ARGUMENT ...]" >&2\n  exit 2\nfi\n'
"""Bash that exits where no script of the user's is given."""


class UnsupportedSetting(NamedTuple):
    """A setting of a plan that a trainer or launcher does not support; `supported`: the supported values."""

    setting: str
    value: object
    supported: str


@dataclass(frozen=True)
class UserExtras:
    """The user's additions: arguments that `train.sh` passes on unless it gets others, and environment variables."""

    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    leaves_out_aux_loss: bool = False
    """Whether the model may be trained without the loss that balances its experts, where the trainer has none."""


@dataclass(frozen=True)
class TrainerExport:
    """How a program is started with a plan."""

    program: Program
    build_script_body: Callable[[PlannedRun], str]
    """The part of `train.sh` that runs the program, with `"$here"` the folder of the files, `"$@"` its arguments."""
    build_config_files: Callable[[PlannedRun], FileTexts] = lambda run: {}
    """The files that `train.sh` reads."""
    build_environment: Callable[[PlannedRun], Mapping[str, object]] = lambda run: {}
    """Environment variables, for those that the user does not set."""
    build_notes: Callable[[PlannedRun], Iterable[str]] = lambda run: ()
    """Deviations from the plan that do not change the result of training."""
    aux_loss_source: str = ""
    """Of a program without a loss that balances experts: the file that shows it. Its plans are those of the model
    without that loss, which the user has to allow."""
    needs_script: bool = False
    """Whether it runs a training script of the user's."""
    saves_before_end: bool = False
    """Whether it reads EXIT_MINUTES."""

    @property
    def name(self) -> ExportName:
        """The program's name."""
        return cast(ExportName, self.program.name)

    def find_unsupported(self, run: PlannedRun) -> Iterator[UnsupportedSetting]:
        """Settings of the plan that the program does not support."""
        values = run.values
        for rule in self.program.find_broken_rules(values):
            yield UnsupportedSetting(rule.setting, rule.read_value(values), rule.supported.format(plan=values))

    def build_files(self, run: PlannedRun, extras: UserExtras) -> FileTexts:
        """The files that `train.sh` reads, and `train.sh`."""
        body, variables = self.build_script_body(run), self.build_environment(run)
        script = (
            format_script_header(run, self.name)
            + 'here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)\n'
            + "# Checkpoints are saved there, and a run goes on from the last of them.\n"
            + 'export CHECKPOINTS="${CHECKPOINTS:-$here/checkpoints}"\n'
            + format_exports({name: value for name, value in variables.items() if name not in extras.variables})
            + "".join(f"export {name}={quote_words(value)}\n" for name, value in extras.variables.items())
        )
        if extras.arguments:
            script += f"if (( $# == 0 )); then set -- {quote_words(*extras.arguments)}; fi\n"
        return {**self.build_config_files(run), TRAIN_SCRIPT: script + body}


def describe_plan(run: PlannedRun, trainer_name: str) -> list[str]:
    """The description of the plan for the head of files, in lines without comment signs."""
    strategy = run.strategy
    degrees = {name: getattr(strategy, name) for name in ("dp", "tp", "pp", "cp", "ep", "vpp")}
    degrees_text = ", ".join(f"{name} {degree}" for name, degree in degrees.items() if degree > 1 or name == "dp")
    length_text = f" of {run.seq_length:,} tokens" if run.model is not None and run.model.vision is None else ""
    return [
        f"{run.title} on {run.nodes:,} x {run.devices_per_node} {run.accelerator.name} ({run.cluster}), "
        f"for {trainer_name}.",
        f"Plan: {degrees_text}, micro-batch {strategy.micro_batch}, ZeRO {strategy.zero_stage}, "
        f"recompute {strategy.recompute};",
        f"global batch {run.global_batch:,}{length_text}, {run.precision}.",
        f"Predicted: {run.step_time_s:.4g} s per step (80 % of runs: {run.step_time_p10_s:.3g} to "
        f"{run.step_time_p90_s:.3g} s), MFU {100 * run.mfu:.1f} % of the {run.precision} peak.",
    ]


def format_script_header(run: PlannedRun, trainer_name: str) -> str:
    """The first lines of a script: the description of the plan, and `set` to end at the first error."""
    return f"#!/usr/bin/env bash\n{format_comments(describe_plan(run, trainer_name))}set -euo pipefail\n"


def format_rendezvous(run: PlannedRun) -> str:
    """The variables that the launcher sets, with defaults on a single node."""
    if run.nodes == 1:
        node_lines = ': "${NODE_RANK:=0}" "${MASTER_ADDR:=127.0.0.1}"\n'
    else:
        node_lines = (
            f': "${{NODE_RANK:?the number of this node, from 0 to {run.nodes - 1}}}"\n'
            ': "${MASTER_ADDR:?the name or address of node 0}"\n'
        )
    return f'{node_lines}: "${{MASTER_PORT:={MASTER_PORT}}}"\n'


def format_torchrun_array(run: PlannedRun) -> str:
    """The bash array `torchrun`: one process a device, ranks in the order of the nodes."""
    return (
        format_rendezvous(run) + "torchrun=(\n"
        f"  torchrun --nnodes {run.nodes} --nproc-per-node {run.devices_per_node}\n"
        '  --node-rank "$NODE_RANK" --master-addr "$MASTER_ADDR" --master-port "$MASTER_PORT"\n'
        ")\n"
    )


def build_model_file(run: PlannedRun, parameter_dtype: str | None = None) -> FileTexts:
    """The model as a `config.json` for the user's script, where Hugging Face's library has its family; with
    `parameter_dtype` of parameters in this format.
    """
    config = None if run.model is None else build_huggingface_config(run.model, run.seq_length)
    if config is None:
        return {}
    return {HUGGINGFACE_FILE: format_json(config | ({"torch_dtype": parameter_dtype} if parameter_dtype else {}))}


def build_model_notes(run: PlannedRun) -> Iterator[str]:
    """The note on a model that the user's script has to build by itself."""
    if run.model is None or not build_model_file(run):
        yield "no family of Hugging Face's library is this model: your script has to build it"


def format_script_duties(run: PlannedRun, *, recomputes: bool) -> str:
    """Comments on what the user's script has to do. `recomputes`: also recomputation."""
    lines = [
        "Your script has to implement these parts of the plan:",
        *(
            [f"  the model: AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(...)) of {HUGGINGFACE_FILE};"]
            if build_model_file(run)
            else []
        ),
        f"  micro-batches of {run.strategy.micro_batch}, {run.micro_batches} per step on each data-parallel rank;",
        f"  attention: {run.attention}; kernels: {run.launch}; {run.steps} steps;",
        f"  a checkpoint in $CHECKPOINTS every {run.checkpoint_steps} steps, and the last one read at the start",
    ]
    if recomputes and run.strategy.recompute != "none":
        lines.append(f"  recomputation: {_describe_recompute(run)}")
    return format_comments(lines)


def build_recompute_note(run: PlannedRun, trainer_name: str) -> Iterator[str]:
    """The note of a trainer that leaves recomputation to the script."""
    if run.strategy.recompute != "none":
        yield f"{trainer_name} does not recompute by itself: your script has to ({_describe_recompute(run)})"


def _describe_recompute(run: PlannedRun) -> str:
    layers = run.settings.recompute_layers
    if run.strategy.recompute == "selective":
        return "selective: norms, activation functions and unfused attention"
    return "full: every layer" if layers is None else f"full: {layers} layers of each stage"
