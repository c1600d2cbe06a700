"""The planner in Python: the questions of `plan` and `estimate`, and their answers as typed documents.

    import planner

    answer = planner.plan("llama-3-70b", "dgx-h100", 1024, nodes=64, tokens="15T")
    assert isinstance(answer, planner.PlanDocument)  # of two pools of nodes it is a planner.HeterogeneousDocument
    best = answer.plans[0]
    print(best.strategy, best.step_time_s, best.mfu)

Options have the names and the values that they have on the command line, `global_batch` for `--global-batch`: a
number, a text with the field's suffixes, or a list of values. What a command warns of is a Python warning; what it
refuses is raised.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING, Unpack, cast

from planner.cost.settings import SettingOptions
from planner.errors import InputError, NothingFits, PlannerError

if TYPE_CHECKING:
    from planner.documents.heterogeneous import HeterogeneousDocument
    from planner.documents.plan import PlanDocument
    from planner.request.plan_request import RequestCommand

__all__ = ["EstimateOptions", "InputError", "NothingFits", "PlanOptions", "PlannerError", "estimate", "plan"]

NameOrPath = str | PathLike[str]
"""A preset, or a file."""
QuantityInput = int | float | str
"""A number, or one with a unit or a suffix: 64, "15T", "200GB/s"."""
IntegerValues = int | str | Sequence[int] | Sequence[str]
"""A value, several, or a range: 8, [4, 8], "4..8"."""


class SharedOptions(SettingOptions, total=False):
    """What `plan` and `estimate` both take; `plan --help` says what each means."""

    nodes: int
    devices: int
    fault: str | Sequence[str]
    seq_length: QuantityInput
    mtp_layers: int | str
    precision: str
    attention: str
    flops_convention: str
    trainer: str
    framework: str
    launch: str
    tokens: QuantityInput
    tp: IntegerValues
    pp: IntegerValues
    dp: IntegerValues
    cp: IntegerValues
    ep: IntegerValues
    etp: IntegerValues
    vpp: IntegerValues
    micro_batch: IntegerValues
    zero: IntegerValues
    recompute: str | Sequence[str]
    sequence_parallel: bool
    memory_limit: float | str
    headroom: str
    failures: bool
    mtbf_device: str
    mtbf_node: str
    checkpoint_bandwidth: str
    restart_time: str
    repair_time: str
    spares: int
    async_checkpoint: bool
    shrink: bool
    grid: str
    carbon_intensity: str
    pue: float | str
    lora: QuantityInput
    prune: str
    low_rank: float | str
    distil: NameOrPath
    optimizer: str


class EstimateOptions(SharedOptions, total=False):
    """The options of `estimate`: of each dimension and setting one value."""


class PlanOptions(SharedOptions, total=False):
    """The options of `plan`: what is not given is searched."""

    objective: str
    pareto: str | Sequence[str]
    critical_batch: QuantityInput
    diverse: bool
    within: float | str
    top: int
    uncertainty: bool | int
    space: NameOrPath


def plan(
    model: NameOrPath, cluster: NameOrPath, global_batch: QuantityInput, **options: Unpack[PlanOptions]
) -> PlanDocument | HeterogeneousDocument:
    """The best plans to train a model on a cluster, the best first; of two pools of nodes a HeterogeneousDocument.

    `global_batch`: sequences of one step, or tokens, "4M tokens". Raises InputError for what makes no sense, with the
    option in its `key`, and NothingFits where no plan fits in memory.
    """
    return _compute_answer("plan", model, cluster, global_batch, options)


def estimate(
    model: NameOrPath, cluster: NameOrPath, global_batch: QuantityInput, **options: Unpack[EstimateOptions]
) -> PlanDocument:
    """One given plan of a model on a cluster, scored as the search scores it: a document with one plan.

    Degrees that are not given are 1, the data-parallel degree is what they leave. Raises as `plan` does.
    """
    return cast("PlanDocument", _compute_answer("estimate", model, cluster, global_batch, options))


def _compute_answer(
    command: RequestCommand,
    model: NameOrPath,
    cluster: NameOrPath,
    global_batch: QuantityInput,
    options: Mapping[str, object],
) -> PlanDocument | HeterogeneousDocument:
    """The answer of a command. Its warnings become Python's, shown as of the caller of this module.

    Raises InputError, also for an option that the command does not have, and NothingFits.
    """
    from planner.request.answer import compute_answer
    from planner.request.notices import collect_warnings
    from planner.request.options import check_option_keys, list_option_keys
    from planner.request.plan_request import build_plan_request

    check_option_keys(options, list_option_keys(command), "")
    values = {"model": model, "cluster": cluster, "global_batch": global_batch, **options}
    with collect_warnings() as messages:
        try:
            plain_values = {name: _convert_to_plain(value) for name, value in values.items()}
            return compute_answer(build_plan_request(plain_values, command))
        finally:
            for text in messages:
                warnings.warn(text, UserWarning, stacklevel=3)


def _convert_to_plain(value: object) -> object:
    """A value as a TOML file would hold it: numbers of NumPy are Python's, all sequences are lists."""
    if isinstance(value, PathLike):
        return fspath(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_convert_to_plain(item) for item in value]
    to_python = getattr(value, "tolist", None)
    return to_python() if callable(to_python) else value
