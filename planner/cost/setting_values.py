"""Values of settings in a scenario: read, and applied. What is more than a field of the scenario has a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from planner.cost.scenario import Offload, Scenario
from planner.cost.settings import (
    SETTINGS,
    AttentionPrecision,
    Setting,
    SettingValue,
)
from planner.errors import InputError
from planner.trainers.names import (
    Fp8Recipe,
    GradientDtype,
    LossKernel,
    MasterDtype,
    MomentDtype,
    WeightDtype,
)
from planner.trainers.pipeline_layout import check_layout, parse_layout
from planner.trainers.trainer import (
    WIDE_VALUE_BYTES,
    find_fp8_recipe,
    replace_gather_format,
    replace_gradient_bytes,
    replace_master_format,
    replace_moment_format,
    replace_weight_format,
)

_BLOCKWISE_ARCHITECTURES = ("hopper", "blackwell")
"""Where Transformer Engine has blockwise scaling (features/low_precision_training/fp8_blockwise_scaling)."""


def apply_setting(scenario: Scenario, setting: Setting, value: SettingValue) -> Scenario:
    """The scenario with this value of a setting. Raises InputError where the cluster does not support it."""
    apply = _APPLY_FUNCTIONS.get(setting.name)
    return replace(scenario, **{setting.field: value}) if apply is None else apply(scenario, value)  # type: ignore[arg-type]


def read_settings(scenario: Scenario) -> dict[str, SettingValue]:
    """The values of all settings."""
    return {name: getattr(scenario, setting.field) for name, setting in SETTINGS.items()}


def _apply_gradients(scenario: Scenario, dtype: GradientDtype) -> Scenario:
    """Gradients accumulated and reduced in another dtype."""
    trainer = replace_gradient_bytes(scenario.trainer, accumulated=dtype, reduced=dtype)
    return replace(scenario, trainer=trainer)


def _apply_communication(scenario: Scenario, dtype: GradientDtype) -> Scenario:
    """Gradients reduced in another dtype than they are accumulated in."""
    return replace(scenario, trainer=replace_gradient_bytes(scenario.trainer, reduced=dtype))


def _apply_offload(scenario: Scenario, states: list[str]) -> Scenario:
    """State on the host. Raises InputError where the node's file does not describe its host."""
    if scenario.host is None and states:
        raise InputError(
            "the cluster's file does not describe its hosts",
            key="--offload",
            expected="a cluster whose node has host.memory, host.bandwidth and host.link",
        )
    return replace(scenario, offload=Offload(**dict.fromkeys(states, True)))


def _apply_attention_precision(scenario: Scenario, dtype: AttentionPrecision) -> Scenario:
    """Attention in another dtype. Raises InputError where kernel or accelerator have no 8-bit products."""
    if dtype == "fp8" and scenario.attention_kernel != "flash":
        raise InputError(
            "unfused attention has no 8-bit kernel",
            key="--attention-precision",
            value=dtype,
            expected="--attention flash",
        )
    if dtype == "fp8" and "fp8" not in scenario.accelerator.peak_flops:
        raise InputError(
            f"{scenario.accelerator.name} states no dense peak for fp8",
            key="--attention-precision",
            value=dtype,
            expected="bf16 (16 bits)",
        )
    return replace(scenario, attention_precision=dtype)


def _apply_weights(scenario: Scenario, dtype: WeightDtype) -> Scenario:
    """Weights held in another dtype. Raises InputError where the multiplies need wider ones, or have no 8 bits."""
    is_wide, has_8bit = scenario.precision in WIDE_VALUE_BYTES, scenario.precision in ("fp8", "mxfp8")
    if dtype != scenario.weights and (is_wide or (dtype == "fp8" and not has_8bit)):
        raise InputError(
            f"multiplies in {scenario.precision} have no weights of {dtype}",
            key="--weights",
            value=dtype,
            expected="--precision of 16 bits or less" if is_wide else "--precision fp8 or mxfp8",
        )
    return replace(scenario, trainer=replace_weight_format(scenario.trainer, dtype, scenario.fp8_recipe))


def _apply_fp8_recipe(scenario: Scenario, recipe: Fp8Recipe) -> Scenario:
    """Another scaling of fp8. Raises InputError for that of another precision, and where no chip or kernel has it."""
    own = find_fp8_recipe(scenario.trainer, scenario.precision)
    if scenario.precision != "fp8" or recipe in ("none", "mxfp8", "nvfp4"):
        if recipe == own:
            return scenario
        recipes = "delayed, tensorwise, rowwise or blockwise" if scenario.precision == "fp8" else own
        problem = f"another scaling than that of multiplies in {scenario.precision}"
        raise InputError(problem, key="--fp8-recipe", value=recipe, expected=recipes)
    if recipe == "blockwise" and not scenario.accelerator.architecture.startswith(_BLOCKWISE_ARCHITECTURES):
        raise InputError(
            "no kernels for it on this accelerator",
            key="--fp8-recipe",
            value=recipe,
            expected="a GPU of NVIDIA's from Hopper on, or delayed, tensorwise or rowwise",
        )
    return replace(scenario, trainer=replace(scenario.trainer, fp8_recipe=recipe))


def _apply_gather(scenario: Scenario, dtype: WeightDtype) -> Scenario:
    """Weights gathered in another dtype."""
    return replace(scenario, trainer=replace_gather_format(scenario.trainer, dtype))


def _apply_moments(scenario: Scenario, dtype: MomentDtype) -> Scenario:
    """Moments in another dtype. Raises InputError beside an optimizer whose moments have a format of their own."""
    if scenario.techniques.optimizer == "adam8bit" and dtype != scenario.moments:
        expected = "no --moments beside --optimizer adam8bit, whose moments have 8 bits"
        raise InputError("two formats of moments", key="--moments", value=dtype, expected=expected)
    return replace(scenario, trainer=replace_moment_format(scenario.trainer, dtype))


def _apply_master(scenario: Scenario, dtype: MasterDtype) -> Scenario:
    """Master weights in another dtype. Raises InputError where parameters are wider than 16 bit and are their own."""
    if scenario.precision in WIDE_VALUE_BYTES and dtype != scenario.master:
        raise InputError(
            f"parameters of {scenario.precision} have no master weights beside them",
            key="--master",
            value=dtype,
            expected="--precision of 16 bits or less",
        )
    return replace(scenario, trainer=replace_master_format(scenario.trainer, dtype))


def _apply_ep_overlap(scenario: Scenario, overlaps: bool) -> Scenario:
    """The all-to-all of experts beside compute, or not."""
    return replace(scenario, trainer=replace(scenario.trainer, overlaps_expert_comm=overlaps))


def _apply_layout(scenario: Scenario, text: str) -> Scenario:
    """A pipeline layout of one's own. Raises InputError where it has other layers than the model.

    Layers of multi-token prediction that are not in the head's chunk are the last of the layers that the pipeline
    partitions.
    """
    workload = scenario.workload
    runs, prediction = workload.layer_runs, workload.prediction
    if parse_layout(scenario.layout).sets_prediction_apart:
        runs, prediction = runs[:-1], runs[-1]
    layers, mtp_layers = sum(run.count for run in runs), 0 if prediction is None else prediction.count
    if check_layout(text, layers, mtp_layers).sets_prediction_apart and prediction is not None:
        runs, prediction = (*runs, prediction), None
    return replace(scenario, layout=text, workload=replace(workload, layer_runs=runs, prediction=prediction))


def _apply_packing(scenario: Scenario, packing: str) -> Scenario:
    """Documents that attend to themselves alone. Raises InputError where the kernel computes the other pairs too."""
    document_length = int(packing) if packing.isdecimal() else None
    if document_length is not None and scenario.attention_kernel != "flash":
        problem, expected = "unfused attention computes the pairs of all documents", "--attention flash"
        raise InputError(problem, key="--packing", value=packing, expected=expected)
    if document_length is not None and not scenario.workload.has_tokens:
        problem = f"{scenario.workload.title} has no documents"
        raise InputError(problem, key="--packing", value=packing, expected="a language model")
    return replace(scenario, packing=packing, workload=replace(scenario.workload, document_length=document_length))


def _apply_loss(scenario: Scenario, loss: LossKernel) -> Scenario:
    """Another implementation of the loss."""
    return replace(scenario, trainer=replace(scenario.trainer, loss=loss))


_APPLY_FUNCTIONS: dict[str, Callable[[Scenario, Any], Scenario]] = {
    "gradients": _apply_gradients,
    "communication": _apply_communication,
    "offload": _apply_offload,
    "attention_precision": _apply_attention_precision,
    "ep_overlap": _apply_ep_overlap,
    "weights": _apply_weights,
    "fp8_recipe": _apply_fp8_recipe,
    "gather": _apply_gather,
    "moments": _apply_moments,
    "master": _apply_master,
    "layout": _apply_layout,
    "loss": _apply_loss,
    "packing": _apply_packing,
}
"""How settings are applied that are more than a field of the scenario."""
