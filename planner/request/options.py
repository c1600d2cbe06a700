"""Every option of a request, declared once.

From this table come the parameters of the commands, the panels of `--help`, the keys of TOML files and of Python, the
words of shell completion and the manual pages. Nothing slow is imported here, since `plan --help` reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, get_args

from planner.cost.settings import SETTINGS, AttentionKernel, FlopsConvention, RecomputeMode
from planner.errors import InputError, find_nearest_name
from planner.request import values
from planner.request.values import OptionValue, Parser
from planner.trainers.names import LaunchMode, ProgramName, TrainerName
from planner.workload.techniques import OptimizerName

CommandName = Literal["plan", "estimate", "what-if", "size", "compare", "explain", "topology"]
"""The commands whose options are in this table."""

PLAN, ESTIMATE, WHAT_IF, SIZE, COMPARE, EXPLAIN, TOPOLOGY = get_args(CommandName)
_SCENARIO = (PLAN, ESTIMATE, WHAT_IF)
_PLANS = (PLAN, ESTIMATE)
_RUNS = (SIZE, COMPARE)
_ALL = (*_SCENARIO, *_RUNS)
_PLANS_AND_RUNS = (*_PLANS, *_RUNS)
_TECHNIQUES = (*_PLANS, EXPLAIN)

GROUPS = (
    "Model",
    "Cluster",
    "Batch",
    "Parallelism",
    "Memory and recompute",
    "Kernels and precision",
    "Objective",
    "Reliability",
    "Energy and cost",
    "Techniques",
    "Output",
)
"""The panels of `--help`, in their order; the everyday ones first."""

ATTENTION_KERNELS = get_args(AttentionKernel)
FLOPS_CONVENTIONS = get_args(FlopsConvention)
TRAINERS = tuple(dict.fromkeys((*get_args(ProgramName), *get_args(TrainerName))))
LAUNCH_MODES = get_args(LaunchMode)
RECOMPUTE_MODES = get_args(RecomputeMode)
OBJECTIVES = ("step-time", "tokens-per-s-per-device", "cost", "energy", "memory-headroom")
OPTIMIZERS = get_args(OptimizerName)
TRAINING_PRECISIONS = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "mxfp8", "nvfp4", "int8")
"""Number formats in which a model can be trained; the integer ones of an accelerator are for inference."""
OUTPUT_FORMATS = ("table", "json", "jsonl", "csv", "markdown", "html", "junit")
_SIZES = "a value, list or range: 8 | 4,8 | 4..8"


ALL = "all"
"""Every value of a setting: a word by itself."""


@dataclass(frozen=True)
class Completion:
    """The completions of a value: words, or those of a named source (`models`), and files with these endings.

    `joins`: characters that may join several words.
    """

    words: tuple[str, ...] = ()
    source: str = ""
    joins: str = ""
    versions: str = ""
    """The named source of the words that go on after an @."""
    endings: tuple[str, ...] | None = None
    normalize: Callable[[str], str] | None = None
    """Of words joined by +: raises ValueError for those that do not go together."""
    value_sources: Mapping[str, str] = field(default_factory=dict)
    """Of KEY=VALUE, the named sources of the values of some keys."""


TRAINER_COMPLETION = Completion(TRAINERS, versions="trainer versions")
MODEL_COMPLETION = Completion(source="models", endings=(".json", ".toml"))
CLUSTER_ENDINGS = (".toml", ".yaml", ".yml", ".json")
OUTPUT_ENDINGS = (".html", ".md", ".csv", ".jsonl", ".json", ".xml", ".txt")
"""Endings of the files of `--output`, each of which is a format."""


@dataclass(frozen=True)
class Option:
    """One option. `name` is its key in TOML and Python (`global_batch`); `flags` are its names on the command line
    where they are not `--global-batch`; `parse` makes its value from a word, or a value of TOML or Python.

    `choices`: the only values; `default`: of a switch or a choice; `is_required`: a request without it is an
    error.
    """

    name: str
    group: str
    help: str
    parse: Parser = values.parse_text
    flags: tuple[str, ...] = ()
    metavar: str = ""
    commands: tuple[str, ...] = _SCENARIO
    choices: tuple[str, ...] = ()
    default: bool | str | None = None
    is_switch: bool = False
    is_repeatable: bool = False
    is_required: bool = False
    is_path: bool = False
    is_argument: bool = False
    in_space: bool = False
    """Whether the file of `--space` may set it."""
    in_answer: bool = True
    """Whether it can change the answer; else it states where the answer goes, or a requirement."""
    completion: Completion | None = None
    for_pools: bool = True
    """Whether a heterogeneous cluster supports it."""
    excludes: str = ""
    """The option that cannot be given with it."""
    is_hidden: bool = False
    """Whether help, completion and manual pages leave it out: an old name, for one release."""
    alias_of: str = ""
    """The option whose old name it is: its value is read as that one's, and only one of the two can be given."""
    scenario_field: str = ""
    """The field of a Scenario that its value replaces, without a line of code for the option itself."""

    @property
    def key(self) -> str:
        """The option's name in messages."""
        if self.is_argument:
            return self.metavar
        return self.flags[0].partition("/")[0] if self.flags else f"--{self.name.replace('_', '-')}"

    def read_value(self, value: OptionValue) -> object:
        """The parsed value. Raises InputError that names the option."""
        return self.parse(value, self.key)


def _declare_choice(
    name: str, group: str, help_text: str, choices: tuple[str, ...], default: str | None = None, **more: object
) -> Option:
    """An option whose values are a few names."""
    parse = partial(values.parse_choice, names=choices)
    return Option(name, group, help_text, parse, choices=choices, default=default, **more)  # type: ignore[arg-type]


def _declare_degree(name: str, help_text: str, group: str = "Parallelism") -> Option:
    """A dimension of the space."""
    return Option(name, group, help_text, values.parse_allowed_values, in_space=True)


def _build_setting_options(group: str) -> Iterator[Option]:
    """The settings of a panel, of which the search may choose from several values."""
    for setting in SETTINGS.values():
        if setting.group == group:
            parse: values.Parser = values.parse_layouts
            if setting.kind != "layout":
                parse = partial(
                    values.parse_setting,
                    names=setting.values,
                    allows_counts=setting.kind == "count",
                    allows_all=setting.kind != "quantity",
                    normalize=setting.normalize,
                )
            # a quantity describes the run: there is nothing to choose from
            words = setting.values if setting.kind == "quantity" else tuple(dict.fromkeys((ALL, *setting.values)))
            is_joined = setting.kind == "modules"
            completion = Completion(
                words, joins=",+" if is_joined else ",", normalize=setting.normalize if is_joined else None
            )
            yield Option(setting.name, group, setting.help, parse, in_space=True, completion=completion)


def _declare_switch(
    name: str, group: str, help_text: str, *flags: str, default: bool | None = False, **more: object
) -> Option:
    """An option without a value."""
    return Option(name, group, help_text, values.parse_switch, flags, default=default, is_switch=True, **more)  # type: ignore[arg-type]


def _declare_duration(name: str, help_text: str) -> Option:
    parse = partial(values.parse_positive, dimension="duration")
    return Option(name, "Reliability", help_text, parse, commands=_PLANS)


_DAY_S = 86400.0

OPTIONS: tuple[Option, ...] = (
    Option(
        "model", "Model",
        "A preset (`planner models list`), a config.json or its folder, a model TOML, or a size: 70B.",
        metavar="MODEL", commands=_ALL, is_required=True, is_argument=True, completion=MODEL_COMPLETION,
    ),
    Option(
        "seq_length", "Model", "Tokens per sequence (8K is 8192). Default: the model's own.", values.parse_seq_length,
        metavar="INTEGER", commands=_ALL,
    ),
    Option(
        "mtp_layers", "Model", "Layers of multi-token prediction. Default: the model's own.",
        partial(values.parse_number, minimum=0, maximum=values.MAX_LAYERS), metavar="INTEGER", commands=_ALL,
    ),
    Option(
        "cluster", "Cluster", "A preset (`planner cluster list`) or a cluster file.", flags=("--cluster", "-c"),
        metavar="CLUSTER", commands=(*_SCENARIO, SIZE), is_required=True,
        completion=Completion(source="clusters", joins="+", endings=CLUSTER_ENDINGS),
    ),
    Option(
        "nodes", "Cluster", "Number of nodes.", values.parse_number, metavar="INTEGER",
        commands=(*_SCENARIO, TOPOLOGY),
    ),
    Option(
        "devices", "Cluster", "Number of GPUs or other devices, instead of --nodes.", values.parse_number,
        metavar="INTEGER", commands=(*_SCENARIO, TOPOLOGY),
    ),
    Option(
        "fault", "Cluster",
        "A host (node-3), its NIC (node-3:2), a switch (leaf-0) or a link ('node-3 - leaf-0') that has failed, or "
        "has a share of its bandwidth left (=0.5 or =50%). May be given several times.",
        values.parse_texts, metavar="PART[=RATE]", is_repeatable=True, for_pools=False,
        commands=(*_SCENARIO, TOPOLOGY, EXPLAIN),
    ),
    Option(
        "global_batch", "Batch",
        "Sequences per step, or tokens: '4M tokens', rounded to what the devices' widths divide. `plan` also takes a "
        "range: 256..4096.",
        values.parse_global_batch, flags=("--global-batch", "-b"), is_required=True,
    ),
    Option(
        "global_batch", "Batch",
        "Sequences per step, tokens: '4M tokens', a range: 256..4096, or auto (the default): around the critical "
        "batch of the model's size. Each size takes the fastest of what its widths divide.",
        values.parse_run_batch, flags=("--global-batch", "-b"), commands=_RUNS, completion=Completion(("auto",)),
    ),
    _declare_degree("micro_batch", "Sequences per micro-batch.", group="Batch"),
    Option(
        "tokens", "Batch", "Tokens of the whole run: 15T. Adds its steps and days to the answer.",
        values.parse_run_tokens, commands=_PLANS_AND_RUNS,
    ),
    _declare_degree("tp", f"Tensor-parallel degree; {_SIZES}."),
    _declare_degree("pp", "Pipeline stages."),
    _declare_degree("dp", "Data-parallel degree."),
    _declare_degree("cp", "Context-parallel degree."),
    _declare_degree("ep", "Expert-parallel degree."),
    _declare_degree("etp", "Expert-tensor-parallel degree: 1, or that of --tp."),
    _declare_degree("vpp", "Virtual pipeline stages (chunks) per device."),
    Option(
        "sequence_parallel", "Parallelism", "Shard norms and residuals along the sequence over the --tp ranks.",
        partial(values.parse_codes, names=("no", "yes")), ("--sequence-parallel/--no-sequence-parallel",),
        is_switch=True, in_space=True,
    ),
    *_build_setting_options("Parallelism"),
    Option(
        "space", "Parallelism", "A TOML file with options of the space; those of the command line replace its keys.",
        commands=(PLAN, WHAT_IF), is_path=True, completion=Completion(endings=(".toml",)),
    ),
    Option(
        "zero", "Memory and recompute", "ZeRO stage, 0 to 3.",
        partial(values.parse_allowed_values, minimum=0, maximum=3), in_space=True,
        completion=Completion(("0", "1", "2", "3"), joins=","),
    ),
    Option(
        "recompute", "Memory and recompute", "Activation recomputation: none, selective, full.",
        partial(values.parse_codes, names=RECOMPUTE_MODES), in_space=True,
        completion=Completion(RECOMPUTE_MODES, joins=","),
    ),
    *_build_setting_options("Memory and recompute"),
    Option(
        "memory_limit", "Memory and recompute",
        "Memory that a plan may use of each GPU: 95%, 70GiB. Default: 90% where plans are searched; `estimate` only "
        "warns above it.",
        values.parse_memory_limit, commands=_ALL, completion=Completion(("90%", "95%", "100%")),
        excludes="headroom", scenario_field="memory_limit",
    ),
    Option(
        "headroom", "Memory and recompute", "Memory to keep free on each GPU, instead of --memory-limit: 8GiB.",
        values.parse_headroom, commands=_ALL, scenario_field="memory_limit",
    ),
    Option(
        "precision", "Kernels and precision",
        "Number format of matrix multiplications: bf16, fp16, fp8, ... Default: bf16 where the hardware has it.",
        commands=_ALL, completion=Completion(TRAINING_PRECISIONS),
    ),
    *_build_setting_options("Kernels and precision"),
    _declare_choice(
        "attention", "Kernels and precision", "Attention kernel. Default: flash, or unfused on GPUs before Ampere.",
        ATTENTION_KERNELS,
    ),
    _declare_choice(
        "flops_convention", "Kernels and precision", "Count the FLOPs of causal attention in full or by half.",
        FLOPS_CONVENTIONS, "full",
    ),
    Option(
        "trainer", "Kernels and precision",
        "Trainer, whose rules plans keep (`planner trainers list`), at its newest version or at another: "
        "torchtitan@2025-04. Default: Megatron, Megatron-FSDP with --zero 2 or 3, ddp for images, maxtext on TPUs, "
        "neuronx on Trainium, mindspeed on Ascend.",
        partial(values.parse_trainer, names=TRAINERS), metavar="NAME[@VERSION]",
        completion=TRAINER_COMPLETION,
    ),
    Option(
        "framework", "Kernels and precision", "The old name of --trainer.",
        partial(values.parse_trainer, names=TRAINERS), metavar="NAME[@VERSION]", is_hidden=True,
        alias_of="trainer", completion=TRAINER_COMPLETION,
    ),
    Option(
        "launch", "Kernels and precision",
        "How kernels are launched: graph (a step as one), graph:attn+mlp (Megatron's scopes of a layer), fused, "
        "compiled, eager. Default: the trainer's.",
        values.parse_launch_mode, metavar="MODE",
        completion=Completion(
            (*LAUNCH_MODES, "graph:attn", "graph:mlp", "graph:attn+mlp", "graph:attn+moe_router+moe_preprocess")
        ),
    ),
    Option(
        "objective", "Objective", f"Objective that ranks the plans: {', '.join(OBJECTIVES)}.",
        partial(values.parse_objectives, names=OBJECTIVES, counts=(1,)), commands=(PLAN,),
        completion=Completion(OBJECTIVES), excludes="pareto",
    ),
    Option(
        "pareto", "Objective", "Two or three objectives with commas between: print their Pareto front.",
        partial(values.parse_objectives, names=OBJECTIVES, counts=(2, 3)), commands=(PLAN,),
        completion=Completion(OBJECTIVES, joins=","),
    ),
    Option(
        "top", "Objective", "How many plans to print. Default: 5, of a Pareto front all.",
        partial(values.parse_number, maximum=1000), metavar="INTEGER", commands=(PLAN,),
    ),
    _declare_switch(
        "diverse", "Objective",
        "Print only plans that differ in their degrees, and the fastest (the default), or all that are fast.",
        "--diverse/--no-diverse", default=None, commands=(PLAN,),
    ),
    Option(
        "within", "Objective",
        "How much longer a step may take than the fastest plan's for a simpler plan to come first: 2%; 0: none. "
        "Default: as much as two plans cannot be told apart by, which is printed: 8 to 15%.",
        partial(
            values.parse_in_range, dimension="ratio", low=0.0, high=1.0, expected="from 0 to 100%", allow_bare=True
        ),
        commands=(PLAN,), metavar="SHARE", completion=Completion(("0", "2%", "5%")),
    ),
    Option(
        "critical_batch", "Objective",
        "Tokens per step above which a larger batch helps less: '4M tokens', or as it grows: 1M,4M@500B.",
        values.parse_critical_batch, commands=(PLAN,),
    ),
    Option(
        "uncertainty", "Objective",
        "How certain the best plan is, from this number of samples of the fitted parameters (200 without a number).",
        values.parse_sample_count, metavar="[INTEGER]", commands=(PLAN,),
    ),
    Option(
        "deadline", "Objective", "Longest time of the run, failures included: 30d, 6w.",
        partial(
            values.parse_in_range, dimension="duration", low=3600.0, high=100 * 365.25 * _DAY_S,
            expected="from 1h to 100y", allow_bare=False,
        ),
        commands=_RUNS,
    ),
    Option(
        "budget", "Objective", "Highest rent of all devices for the run, in USD: 2M, 2MUSD.",
        partial(
            values.parse_in_range, dimension="usd", low=1.0, high=1e13, expected="from 1USD to 10TUSD",
            allow_bare=True,
        ),
        commands=_RUNS,
    ),
    _declare_switch(
        "failures", "Reliability", "Report the goodput of the best plan, its throughput with failures.",
        "--failures/--no-failures", default=True, commands=_PLANS,
    ),
    _declare_duration("mtbf_device", "Mean time between failures of one device: 50000h, 5y."),
    _declare_duration("mtbf_node", "Mean time between failures of one node, apart from its devices."),
    Option(
        "checkpoint_bandwidth", "Reliability", "Write bandwidth of the storage for checkpoints: 200GB/s.",
        partial(values.parse_positive, dimension="bytes_per_s"), commands=_PLANS,
    ),
    _declare_duration("restart_time", "Time from a failure until the checkpoint is loaded: 10min."),
    _declare_duration("repair_time", "Time until a failed node is repaired and a spare again."),
    Option(
        "spares", "Reliability",
        "Spare nodes in addition to the plan's. Default: the number with the most goodput per node.",
        partial(values.parse_number, minimum=0, maximum=50_000), metavar="INTEGER", commands=_PLANS,
    ),
    _declare_switch(
        "async_checkpoint", "Reliability",
        "Write checkpoints while training continues. Default: as in the cluster file, else training stops for them.",
        "--async-checkpoint/--sync-checkpoint", default=None, commands=_PLANS,
    ),
    _declare_switch(
        "shrink", "Reliability", "Without a spare continue with fewer replicas instead of waiting for repair.",
        commands=_PLANS,
    ),
    Option(
        "grid", "Energy and cost",
        "Electricity grid, for CO2e: fr, us-avg, us-camx, gcp-europe-west9, aws-us-east-1, ...",
        commands=_PLANS_AND_RUNS, completion=Completion(source="grids"), excludes="carbon_intensity",
    ),
    Option(
        "carbon_intensity", "Energy and cost", "CO2e per kWh, instead of --grid: 56g/kWh.", commands=_PLANS_AND_RUNS
    ),
    Option(
        "pue", "Energy and cost",
        "Power usage effectiveness of the site. Default: the cluster file's, else 1.15.", values.parse_pue,
        commands=_PLANS,
    ),
    Option(
        "lora", "Techniques", "Train only LoRA adapters of this rank; all other weights are frozen.",
        values.parse_lora, metavar="RANK[:4bit|8bit][:attention]", commands=_TECHNIQUES,
        completion=Completion(("16", "16:4bit", "16:8bit", "16:attention", "64", "64:4bit")),
    ),
    Option(
        "prune", "Techniques", "MLP weights that stay zero: 2:4, unstructured:0.5.", values.parse_pruning,
        commands=_TECHNIQUES, completion=Completion(("2:4", "unstructured:0.5")),
    ),
    Option(
        "low_rank", "Techniques", "Factor each matrix into two of this share of its rank: 0.25.",
        partial(values.parse_share, expected="a share of the rank such as 0.25"), commands=_TECHNIQUES,
    ),
    Option(
        "distil", "Techniques", "A teacher model, whose forward pass runs in each step.", metavar="MODEL",
        commands=_TECHNIQUES, completion=MODEL_COMPLETION,
    ),
    Option(
        "optimizer", "Techniques", f"Optimizer: {', '.join(OPTIMIZERS)}. Default: the trainer's.",
        partial(values.parse_choice, names=OPTIMIZERS), commands=_TECHNIQUES, completion=Completion(OPTIMIZERS),
    ),
    _declare_choice(
        "format", "Output", "Output format.", OUTPUT_FORMATS, "table", flags=("--format", "-f"),
        commands=(*_SCENARIO, COMPARE), in_answer=False,
    ),
    Option(
        "output", "Output",
        "Also write a file, in the format of its ending: .html, .md, .csv, .jsonl, .json, .xml (JUnit) or .txt. "
        "May be given several times.",
        values.parse_texts, ("--output", "-o"), "FILE", (*_SCENARIO, COMPARE), is_repeatable=True, is_path=True,
        in_answer=False, completion=Completion(endings=OUTPUT_ENDINGS),
    ),
    Option(
        "hostfile", "Output", "Write the hosts in the order of their ranks.", metavar="FILE", commands=_PLANS,
        is_path=True, in_answer=False, completion=Completion(endings=()),
    ),
    Option(
        "rankfile", "Output", "Write host and slot of every rank (Open MPI).", metavar="FILE", commands=_PLANS,
        is_path=True, in_answer=False, completion=Completion(endings=()),
    ),
    Option(
        "require", "Output",
        "A requirement on the best plan, else the exit code is 4: 'mfu >= 40%'. May be given several times.",
        values.parse_texts, metavar="CONDITION", commands=_PLANS, is_repeatable=True, in_answer=False,
    ),
)  # fmt: skip

HOMOGENEOUS_OPTIONS = tuple(
    option
    for option in OPTIONS
    if PLAN in option.commands
    and (not option.for_pools or option.group in ("Objective", "Reliability", "Energy and cost", "Techniques"))
)
"""Options of `plan` that a heterogeneous cluster does not support."""
SCENARIO_FIELDS = {option.name: option.scenario_field for option in OPTIONS if option.scenario_field}
"""Options that replace a field of the scenario."""
OUTPUT_KEYS = tuple(option.name for option in OPTIONS if PLAN in option.commands and not option.in_answer)
"""Options of `plan` that state where the answer goes, or a requirement."""
FILE_KEYS = ("model", "cluster", "distil", "space")
"""Options whose values may be files."""


def list_options(command: str = PLAN) -> tuple[Option, ...]:
    """The options of a command, in the order of its help."""
    return tuple(option for option in OPTIONS if command in option.commands)


def list_option_keys(command: str = PLAN) -> tuple[str, ...]:
    """The options of a command that can change its answer, as keys of a table."""
    return tuple(option.name for option in list_options(command) if option.in_answer)


def find_option(name: str, command: str = PLAN) -> Option:
    """The option of a command by its key."""
    return next(option for option in list_options(command) if option.name == name)


def check_option_keys(keys: Collection[str], known_keys: Collection[str], origin: str, table_path: str = "") -> None:
    """Raise InputError, with the nearest name, for a key that is no option; dashes and underscores are equal."""
    for key in keys:
        if key.replace("-", "_") not in known_keys:
            raise InputError(
                "unknown key",
                origin=origin,
                key=f"{table_path}.{key}" if table_path else key,
                expected=f"one of {', '.join(known_keys)}",
                suggestion=find_nearest_name(key.replace("-", "_"), known_keys),
            )


def extract_option_key(message_key: str) -> str:
    """The key of a table that a message about `--global-batch` is of; of several options the first one's."""
    return message_key.split(",")[0].strip().removeprefix("--").replace("-", "_").casefold()
