"""Which modules Megatron's programs repeat in the backward pass, and of which they keep activations on the host."""

from __future__ import annotations

from planner.trainers import rules
from planner.trainers.recompute import ALL_ACTIVATIONS, RecomputeChoice, list_default_modules
from planner.workload.spec import ModelSpec

WRITTEN_MODULES = ("recompute_modules", "offload_modules")
"""Settings that the files of Megatron-LM and Megatron-Bridge may change."""


def list_recompute_modules(model: ModelSpec | None, attention: str, choice: RecomputeChoice) -> list[str]:
    """The modules of selective recomputation: the chosen ones, or those of `list_default_modules`."""
    if choice.modules:
        return sorted(choice.modules)
    return list_default_modules(
        attention=attention,
        has_experts=model is not None and model.moe is not None,
        has_latent_attention=model is not None and model.mla is not None,
    )


def list_plan_modules(plan: rules.PlanValues) -> set[str]:
    """The modules that selective recomputation of a plan repeats."""
    return set(list_recompute_modules(plan.model, plan.attention, plan.recompute_choice))


def _list_offload_modules(plan: rules.PlanValues) -> set[str]:
    """The modules of which activations are on the host; empty without."""
    modules = str(plan.settings.get("offload_modules", ALL_ACTIVATIONS))
    return set(modules.split("+")) if "activations" in plan.offload else set()


_SOURCE = "megatron/core/transformer/transformer_config.py, __post_init__"
MODULE_RULES = (
    rules.accept_recompute_modules("modules joined by +", lambda choice: bool(choice.modules), source=_SOURCE),
    rules.Rule(
        "recompute_modules",
        "moe_act with experts, mla_up_proj with latent attention",
        lambda plan: (
            plan.model is not None
            and (
                ("moe_act" in plan.recompute_choice.modules and plan.model.moe is None)
                or ("mla_up_proj" in plan.recompute_choice.modules and plan.model.mla is None)
            )
        ),
        source=_SOURCE,
    ),
    rules.Rule(
        "offload_modules",
        "names of modules: --offload-modules",
        lambda plan: ALL_ACTIVATIONS in _list_offload_modules(plan),
        source=_SOURCE,
    ),
    rules.Rule(
        "offload_modules",
        "attn_proj with core_attn alone",
        lambda plan: "attn_proj" in (modules := _list_offload_modules(plan)) and "core_attn" not in modules,
        source=_SOURCE,
    ),
    # the whole layer runs without saving anything, and a second time outside the pass that offloads
    rules.Rule(
        "recompute",
        "recompute none or selective beside offload activations",
        lambda plan: ("activations" in plan.offload) & (plan.recompute == "full"),
        source="megatron/core/pipeline_parallel/fine_grained_activation_offload.py",
    ),
    rules.Rule(
        "recompute",
        "recompute none, full, or of other modules with fp8: delayed scaling does not repeat layernorm and moe_act",
        lambda plan: (
            (plan.recompute == "selective")
            & (plan.settings.get("fp8_recipe") == "delayed")
            & bool(list_plan_modules(plan) & {"layernorm", "moe_act"})
        ),
        source=_SOURCE,
    ),
)
