"""The settings of a run, each declared once.

A setting changes the whole scenario (overlap of communication, offloading, rank order), where a degree changes one
candidate. From this table come the options with their help and completion, the keys of TOML files and of Python, the
combinations that a search goes through, the document's `settings`, the columns of CSV, the figures of `--require` and
of `planner diff`, and the words of tables. Nothing slow is imported here, since `plan --help` reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any, Literal, TypedDict, get_args

from planner.trainers.names import AttentionKernel as AttentionKernel
from planner.trainers.names import CpCommType as CpCommType
from planner.trainers.names import ExpertExchange as ExpertExchange
from planner.trainers.names import (
    Fp8Recipe,
    GradientDtype,
    LossKernel,
    MasterDtype,
    MomentDtype,
    WeightDtype,
)
from planner.trainers.recompute import (
    ALL_ACTIVATIONS,
    DEFAULT_MODULES,
    OFFLOAD_MODULES,
    RECOMPUTE_VALUES,
    normalize_offload_modules,
    normalize_recompute_modules,
)
from planner.trainers.trainer import Trainer, find_fp8_recipe, find_gather_format

FlopsConvention = Literal["full", "causal"]
RecomputeMode = Literal["none", "selective", "full"]
PipelineSchedule = Literal["1f1b", "zero-bubble", "gpipe", "zb-v", "dualpipe", "dualpipe-v"]
AttentionPrecision = Literal["bf16", "fp8"]
ReshardPolicy = Literal["default", "always", "never"]
SendOverlap = Literal["interleaved", "yes", "no"]
OffloadState = Literal["optimizer", "activations", "weights"]
RANK_ORDERS = tuple("-".join(order) for order in permutations(("tp", "cp", "dp", "pp")))
"""From the inside out; the first is Megatron-LM's. Those with tp innermost come first: it communicates most."""

ROUTERS = {"balanced": 1.0, "real": 1.3}
"""By name the tokens of the expert-parallel rank that has most of them, over the mean. `real`, of a router that drops
no tokens, is ours: no source states it for ranks. It lies between experts that a bias balances (1.04) and those that
an auxiliary loss does (1.52 and 1.72; arXiv 2408.15664, table 2: MaxVio_global, which is the excess over one)."""
_MAX_IMBALANCE = 1000.0
_MAX_DOCUMENT_TOKENS = 2**24
_PACKINGS = ("no", "yes", "unpadded")

SettingKind = Literal["choice", "dtype", "switch", "count", "parts", "modules", "layout", "quantity"]
"""A choice of names; of number formats, where bf16 stands for 16 bits; yes or no; `all` or a whole number; `none` or
names joined by +; one name, or several joined by + that `normalize` checks; a pipeline
layout (`planner/trainers/pipeline_layout.py`); a name, or a number that `normalize` checks."""
SettingValue = str | bool | int | list[str] | None
"""The value of a setting in a scenario and in a document: None is `all`, an empty list `none`."""


@dataclass(frozen=True)
class Setting:
    """A setting of a run.

    `field` of a Scenario holds it; `values`: names of its values, the usual one first; `description`: of the figure
    `settings.NAME`; `label`: words of tables, with {} for the value; `terms` of the step that it changes most;
    `affects`: whether it makes a difference to a plan with these degrees, and `otherwise` what such plans have.
    """

    name: str
    field: str
    kind: SettingKind
    values: tuple[str, ...]
    group: str
    help: str
    description: str
    label: str
    terms: tuple[str, ...] = ()
    affects: Callable[[Any], bool] | None = None
    otherwise: str = ""
    normalize: Callable[[str], str] | None = None
    """Of kinds `modules` and `quantity`: the only form of a value; raises ValueError with what was expected."""
    find_own_value: Callable[[Trainer, str], SettingValue] | None = None
    """What a trainer has at a precision without the option; None: the usual value."""
    has_own_value: bool = True
    """Whether a program refuses any other value than its trainer's own, where it does not write the setting; else its
    rules read the setting, or it is nothing that a program is given."""

    @property
    def choices(self) -> tuple[str, ...]:
        """The only names that it can have; empty where numbers, joined names, yes or no are values too."""
        return self.values if self.kind in ("choice", "dtype") else ()

    def parse_name(self, name: str) -> SettingValue:
        """The value of one of `values`, or of a number."""
        if self.kind == "switch":
            return name == "yes"
        if self.kind == "count":
            return None if name == "all" else int(name)
        if self.kind == "parts":
            return [] if name == "none" else name.split("+")
        return name if self.normalize is None else self.normalize(name)

    def format_value(self, value: SettingValue) -> str:
        """The name of a value, as an option takes it."""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, list):
            return "+".join(value) or "none"
        return "all" if value is None else str(value)

    def format_label(self, name: str) -> str:
        """The words of tables for the value of this name: `no offload`, `offload weights`."""
        return f"no {self.label.removesuffix(' {}')}" if name in ("no", "none") else self.label.format(name)


def normalize_router(text: str) -> str:
    """A value of `--router`. Raises ValueError, whose text says what was expected."""
    if text in ROUTERS:
        return text
    expected = "balanced, real, or tokens of the fullest rank over those of the mean one, from 1 to 1000, such as 1.3"
    try:
        imbalance = float(text)
    except ValueError:
        raise ValueError(expected) from None
    if not 1 <= imbalance <= _MAX_IMBALANCE:
        raise ValueError(expected)
    return f"{imbalance:g}"


def normalize_packing(text: str) -> str:
    """A value of `--packing`; 2K is 2048. Raises ValueError, whose text says what was expected."""
    if text in _PACKINGS:
        return text
    digits = text.lower().removesuffix("k")
    tokens = int(digits) * (1 if digits == text else 1024) if digits.isdecimal() and len(digits) < 10 else 0
    if not 1 <= tokens <= _MAX_DOCUMENT_TOKENS:
        raise ValueError(
            f"{', '.join(_PACKINGS)}, or tokens of a document, from 1 to {_MAX_DOCUMENT_TOKENS}, such as 2048"
        )
    return str(tokens)


class PlanSettings:
    """Settings of the plan other than its degrees. `shard_group`, `recompute_layers`: null means all."""

    # in the order of the table; a default for those that older documents do not have
    schedule: PipelineSchedule
    layout: str = "auto"
    tp_overlap: bool
    dp_overlap: bool
    gather_overlap: bool = True
    pp_overlap: SendOverlap
    ep_overlap: bool
    ep_exchange: ExpertExchange
    cp_exchange: CpCommType
    gradients: GradientDtype
    communication: GradientDtype
    weights: WeightDtype
    gather: WeightDtype
    moments: MomentDtype
    master: MasterDtype
    offload: list[OffloadState]
    offload_modules: str = ALL_ACTIVATIONS
    order: str
    shard_group: int | None
    reshard: ReshardPolicy
    recompute_layers: int | None
    recompute_modules: str = DEFAULT_MODULES
    attention_precision: AttentionPrecision
    fp8_recipe: Fp8Recipe
    loss: LossKernel
    router: str = "balanced"
    packing: str = "no"


class SettingOptions(TypedDict, total=False):
    """The settings as options of Python: one value, or several that the search may choose from."""

    schedule: str | Sequence[str]
    layout: str | Sequence[str]
    tp_overlap: str | Sequence[str]
    dp_overlap: str | Sequence[str]
    gather_overlap: str | Sequence[str]
    pp_overlap: str | Sequence[str]
    ep_overlap: str | Sequence[str]
    ep_exchange: str | Sequence[str]
    cp_exchange: str | Sequence[str]
    gradients: str | Sequence[str]
    communication: str | Sequence[str]
    weights: str | Sequence[str]
    gather: str | Sequence[str]
    moments: str | Sequence[str]
    master: str | Sequence[str]
    offload: str | Sequence[str]
    offload_modules: str | Sequence[str]
    order: str | Sequence[str]
    shard_group: int | str | Sequence[int] | Sequence[str]
    reshard: str | Sequence[str]
    recompute_layers: int | str | Sequence[int] | Sequence[str]
    recompute_modules: str | Sequence[str]
    attention_precision: str | Sequence[str]
    fp8_recipe: str | Sequence[str]
    loss: str | Sequence[str]
    router: float | str | Sequence[float] | Sequence[str]
    packing: int | str | Sequence[int] | Sequence[str]


_PARALLELISM, _MEMORY, _KERNELS = "Parallelism", "Memory and recompute", "Kernels and precision"
_COMMUNICATION = ("tensor_parallel", "context_parallel", "expert_parallel", "pipeline_send", "data_parallel")
_OFFLOADS = tuple("+".join(parts) for count in (1, 2, 3) for parts in combinations(get_args(OffloadState), count))

_DECLARED = (
    Setting(
        "schedule", "pipeline_schedule", "choice", get_args(PipelineSchedule), _PARALLELISM,
        "Pipeline schedule: 1f1b, zero-bubble, gpipe, zb-v, dualpipe, dualpipe-v.",
        description="pipeline schedule", label="{}", terms=("pipeline_bubble",),
        affects=lambda s: s.pp > 1, otherwise="pp 1",
        has_own_value=False,
    ),
    Setting(
        "layout", "layout", "layout", ("auto",), _PARALLELISM,
        "Layers of each chunk of the pipeline: auto, E4|4|3L, Et*4|(tt|)*2L, first-3-last-5, "
        "embedding-and-loss-as-layers.",
        description="layers of each chunk of the pipeline", label="layout {}", terms=("forward", "backward"),
        affects=lambda s: s.pp > 1, otherwise="pp 1",
    ),
    Setting(
        "tp_overlap", "tp_overlap", "switch", ("no", "yes"), _PARALLELISM,
        "Overlap tensor-parallel communication with compute: no, yes.",
        description="tensor-parallel communication overlapped", label="tp overlap", terms=("tensor_parallel",),
        affects=lambda s: s.tp > 1, otherwise="tp 1",
        has_own_value=False,
    ),
    Setting(
        "dp_overlap", "dp_overlap", "switch", ("yes", "no"), _PARALLELISM,
        "Overlap gradient communication with compute: yes, no.",
        description="gradient communication overlapped", label="dp overlap", terms=("data_parallel",),
        affects=lambda s: s.dp * s.cp > 1, otherwise="dp 1",
        has_own_value=False,
    ),
    Setting(
        "gather_overlap", "gather_overlap", "switch", ("yes", "no"), _PARALLELISM,
        "Overlap the gather of weights with compute, where --dp-overlap does: yes, no.",
        description="gather of weights overlapped", label="gather overlap", terms=("data_parallel",),
        affects=lambda s: s.zero_stage > 0, otherwise="ZeRO 0",
    ),
    Setting(
        "pp_overlap", "pp_overlap", "choice", get_args(SendOverlap), _PARALLELISM,
        "Overlap sends between stages with compute: interleaved (where vpp > 1), yes, no.",
        description="sends between stages overlapped", label="pp overlap {}", terms=("pipeline_send",),
        affects=lambda s: s.pp > 1, otherwise="pp 1",
    ),
    Setting(
        "ep_overlap", "ep_overlap", "switch", ("no", "yes"), _PARALLELISM,
        "Overlap the all-to-all of experts with compute of another micro-batch: no, yes. Default: the trainer's.",
        description="expert-parallel communication overlapped", label="ep overlap", terms=("expert_parallel",),
        affects=lambda s: s.ep > 1, otherwise="ep 1",
        find_own_value=lambda trainer, _: trainer.overlaps_expert_comm,
    ),
    Setting(
        "ep_exchange", "ep_exchange", "choice", get_args(ExpertExchange), _PARALLELISM,
        "All-to-all of experts: deepep and hybridep (a token once to each node), nccl (a copy for each expert). "
        "Default: the trainer's; nccl where DeepEP has no kernels; hybridep of Megatron on GB200 and GB300.",
        description="all-to-all of experts", label="ep by {}", terms=("expert_parallel",),
        affects=lambda s: s.ep > 1, otherwise="ep 1",
        find_own_value=lambda trainer, _: trainer.ep_exchange,
    ),
    Setting(
        "cp_exchange", "cp_comm_type", "choice", get_args(CpCommType), _PARALLELISM,
        "Context-parallel algorithm: ring, all-gather, all-to-all, hierarchical (all-to-all in a node, ring beyond).",
        description="communication of context parallelism", label="cp by {}", terms=("context_parallel",),
        affects=lambda s: s.cp > 1, otherwise="cp 1",
        has_own_value=False,
    ),
    Setting(
        "gradients", "gradient_dtype", "dtype", get_args(GradientDtype), _KERNELS,
        "Number format of gradients in memory and communication: fp32, bf16.",
        description="dtype of gradient accumulation", label="{} gradients", terms=("data_parallel",),
        has_own_value=False,
    ),
    Setting(
        "communication", "grad_reduce_dtype", "dtype", get_args(GradientDtype), _KERNELS,
        "Number format of gradients in communication, where it differs from memory: fp32, bf16.",
        description="dtype of gradient reduction", label="sent in {}", terms=("data_parallel",),
        affects=lambda s: s.dp * s.cp > 1, otherwise="dp 1",
        has_own_value=False,
    ),
    Setting(
        "weights", "weights", "dtype", get_args(WeightDtype), _KERNELS,
        "Number format of weights in memory: bf16, fp32, fp8. Default: 16 bits, or that of --precision if wider.",
        description="dtype of the weights as held", label="{} weights", terms=("data_parallel", "optimizer"),
        find_own_value=lambda trainer, _: trainer.weights,
    ),
    Setting(
        "gather", "gather_dtype", "dtype", get_args(WeightDtype), _KERNELS,
        "Number format of weights in communication: bf16, fp32, fp8.",
        description="dtype of the weights' all-gather", label="gathered in {}", terms=("data_parallel",),
        affects=lambda s: s.zero_stage > 0, otherwise="ZeRO 0",
        find_own_value=lambda trainer, _: find_gather_format(trainer),
    ),
    Setting(
        "moments", "moments", "dtype", get_args(MomentDtype), _KERNELS,
        "Number format of the optimizer's moments: fp32, bf16, fp8.",
        description="dtype of the optimizer's moments", label="{} moments", terms=("optimizer",),
        find_own_value=lambda trainer, _: trainer.moments,
    ),
    Setting(
        "master", "master", "dtype", get_args(MasterDtype), _KERNELS,
        "Number format of master weights: fp32, bf16, none.",
        description="dtype of the master weights, or none", label="master weights {}", terms=("optimizer",),
        find_own_value=lambda trainer, _: trainer.master,
    ),
    Setting(
        "offload", "offload_states", "parts", ("none", *_OFFLOADS), _MEMORY,
        "State kept in host memory: none, optimizer, activations, weights, or several joined by +.",
        description="states offloaded to the host, joined by +; or none", label="offload {}",
        terms=("optimizer", "offload"),
        has_own_value=False,
    ),
    Setting(
        "offload_modules", "offload_modules", "modules", (ALL_ACTIVATIONS, *OFFLOAD_MODULES), _MEMORY,
        "Modules whose activations `--offload activations` keeps on the host: all, or several joined by +: "
        "attn_norm, core_attn, ...",
        description="modules whose activations are offloaded to the host, joined by +; or all",
        label="offload activations of {}", terms=("offload",), normalize=normalize_offload_modules,
    ),
    Setting(
        "order", "rank_order", "choice", RANK_ORDERS, _PARALLELISM,
        "Order of the degrees on ranks, innermost first: tp-cp-dp-pp, tp-cp-pp-dp, ..., or all.",
        description="rank order of the parallel dimensions, innermost first", label="order {}", terms=_COMMUNICATION,
        has_own_value=False,
    ),
    Setting(
        "shard_group", "shard_group", "count", ("all",), _MEMORY, "Ranks that ZeRO shards over: all, 8, ...",
        description="ranks that ZeRO shards over, or all", label="shard over {}",
        terms=("data_parallel", "optimizer"), affects=lambda s: s.zero_stage > 0, otherwise="ZeRO 0",
        has_own_value=False,
    ),
    Setting(
        "reshard", "reshard", "choice", get_args(ReshardPolicy), _MEMORY,
        "When ZeRO 3 frees gathered weights after the forward pass: default, always, never.",
        description="when gathered weights are freed after the forward pass", label="reshard {}",
        terms=("data_parallel",), affects=lambda s: s.zero_stage == 3, otherwise="no ZeRO 3",
    ),
    Setting(
        "recompute_layers", "recompute_layers", "count", ("all",), _MEMORY,
        "Layers of each chunk that full recomputation repeats: all, 1, ...",
        description="layers per virtual stage that are recomputed, or all", label="recompute {} layers",
        terms=("recompute",), affects=lambda s: s.recompute == "full", otherwise="no full recomputation",
        has_own_value=False,
    ),
    Setting(
        "recompute_modules", "recompute_modules", "modules", RECOMPUTE_VALUES, _MEMORY,
        "What selective recomputation repeats: modules joined by + (mla_up_proj+mlp), or what it keeps: a policy "
        "(minimal), or tensors (save:context+offload:out_proj). Default: the trainer's.",
        description="what selective recomputation repeats, or keeps", label="recompute {}",
        terms=("recompute",), affects=lambda s: s.recompute == "selective", otherwise="no selective recomputation",
        normalize=normalize_recompute_modules,
    ),
    Setting(
        "attention_precision", "attention_precision", "dtype", get_args(AttentionPrecision), _KERNELS,
        "Number format of fused attention's products: bf16, fp8.",
        description="dtype of the products of attention", label="attention in {}", terms=("forward", "backward"),
    ),
    Setting(
        "fp8_recipe", "fp8_recipe", "choice", get_args(Fp8Recipe), _KERNELS,
        "Scaling of narrow multiplies: none, delayed, tensorwise, rowwise, blockwise, mxfp8, nvfp4. Default: none in "
        "16 bits, else that of the trainer and --precision.",
        description="scaling recipe of narrow multiplies, or none", label="scaling {}", terms=("forward", "backward"),
        find_own_value=find_fp8_recipe,
    ),
    Setting(
        "loss", "loss", "choice", get_args(LossKernel), _KERNELS,
        "Cross-entropy: plain, compiled, fused, chunked. Default: the trainer's.",
        description="implementation of the loss", label="{} loss", terms=("forward", "backward"),
        find_own_value=lambda trainer, _: trainer.loss,
    ),
    Setting(
        "router", "router", "quantity", tuple(ROUTERS), _PARALLELISM,
        "Tokens of the fullest expert-parallel rank over the mean: balanced (1), real (1.3), or a number.",
        description="tokens of the fullest expert-parallel rank over the mean", label="router {}",
        terms=("forward", "backward", "expert_parallel"), affects=lambda s: s.ep > 1, otherwise="ep 1",
        normalize=normalize_router, has_own_value=False,
    ),
    Setting(
        "packing", "packing", "quantity", _PACKINGS, _KERNELS,
        "Documents of a sequence: no, yes, unpadded (each token attends to all before it, at the same cost); or the "
        "tokens of a document, which attends to itself alone: 2048.",
        description="tokens of a document that attends to itself alone; or no, yes, unpadded", label="packing {}",
        terms=("forward", "backward"), normalize=normalize_packing, has_own_value=False,
    ),
)  # fmt: skip

SETTINGS: Mapping[str, Setting] = {setting.name: setting for setting in _DECLARED}
"""All settings by name, in the order in which a search varies them and a document prints them."""


def list_own_values(trainer: Trainer, precision: str) -> dict[str, SettingValue]:
    """By setting what the trainer has without an option at this precision, of those that each program must be able to
    write.
    """
    return {
        name: setting.parse_name(setting.values[0])
        if setting.find_own_value is None
        else setting.find_own_value(trainer, precision)
        for name, setting in SETTINGS.items()
        if setting.has_own_value
    }
