"""Settings that a search can leave open in addition to the degrees: each combination is a scenario.

The search goes through the combinations one after the other, with one list of the best plans.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from planner.cost.scenario import Scenario
from planner.cost.setting_values import apply_setting
from planner.cost.settings import SETTINGS
from planner.cost.strategies import FULL_RECOMPUTE, SELECTIVE_RECOMPUTE
from planner.errors import InputError
from planner.trainers.recompute import ALL_ACTIVATIONS, DEFAULT_MODULES, parse_recompute_modules


def check_allowed_settings(
    scenario: Scenario, allowed: Mapping[str, tuple[str, ...]], dimensions: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise InputError for a setting without effect on any plan with these values of `dimensions`."""
    layers, zero_stages = scenario.workload.layer_count, dimensions.get("zero_stage", (1,))
    for value in allowed.get("shard_group", ("all",)):
        if value != "all" and not any(zero_stages):
            raise InputError(
                "has no effect with --zero 0, which shards nothing",
                key="--shard-group",
                value=value,
                expected="--zero 1, 2 or 3",
            )
    recompute_modes = dimensions.get("recompute", (SELECTIVE_RECOMPUTE,))
    for value in allowed.get("recompute_modules", (DEFAULT_MODULES,)):
        if value != DEFAULT_MODULES and SELECTIVE_RECOMPUTE not in recompute_modes:
            raise InputError(
                "only valid with selective recomputation",
                key="--recompute-modules",
                value=value,
                expected="--recompute selective",
            )
    offloads_activations = any("activations" in value.split("+") for value in allowed.get("offload", ()))
    values_on_host = {
        "--offload-modules": [v for v in allowed.get("offload_modules", ()) if v != ALL_ACTIVATIONS],
        "--recompute-modules": [
            v for v in allowed.get("recompute_modules", ()) if parse_recompute_modules(v).offloaded
        ],
    }
    for key, values in values_on_host.items():
        if values and not offloads_activations:
            raise InputError(
                "no activations are on the host", key=key, value=values[0], expected="--offload activations"
            )
    for value in allowed.get("recompute_layers", ("all",)):
        if value == "all":
            continue
        if int(value) > layers:
            raise InputError(
                f"the model has {layers} layers",
                key="--recompute-layers",
                value=value,
                expected=f"all, or from 1 to {layers}",
            )
        if FULL_RECOMPUTE not in dimensions.get("recompute", (FULL_RECOMPUTE,)):
            raise InputError(
                "only valid with full recomputation",
                key="--recompute-layers",
                value=value,
                expected="--recompute full",
            )


def enumerate_setting_scenarios(scenario: Scenario, allowed: Mapping[str, tuple[str, ...]]) -> Iterator[Scenario]:
    """The scenario with every combination of the allowed values; settings without allowed values stay unchanged."""
    varied = [setting for setting in SETTINGS.values() if setting.name in allowed]
    for names in itertools.product(*(allowed[setting.name] for setting in varied)):
        changed_scenario = scenario
        for setting, name in zip(varied, names, strict=True):
            changed_scenario = apply_setting(changed_scenario, setting, setting.parse_name(name))
        yield changed_scenario
