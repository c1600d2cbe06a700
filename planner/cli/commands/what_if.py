"""`planner what-if`: plan again with changes, and print both plans side by side."""

from __future__ import annotations

from collections.abc import Sequence

from planner.cli.io.output import DocumentOutput
from planner.cli.lazy import import_lazily
from planner.cli.options.command import OptionValues, declare_command
from planner.errors import InputError
from planner.request.options import Completion, Option
from planner.request.values import OptionValue, parse_texts

with import_lazily():
    from planner.request import plan_request, resolve
    from planner.search import settings
    from planner.studies import changes as input_changes
    from planner.studies import what_if as what_if_study

CHANGE_KEYS = (
    "accelerator.memory=", "accelerator.memory_bandwidth=", "accelerator.peak=", "accelerator.power=",
    "accelerator.price=", "node.link.bandwidth=", "node.link.latency=", "fabric.bandwidth=", "fabric.latency=",
    "host.memory=", "host.bandwidth=", "host.link=", "cluster.nodes=", "training.global_batch=",
    "training.precision=", "model.seq_length=",
)  # fmt: skip


@declare_command(
    Option(
        "changes", "Objective",
        "A change: to an amount (accelerator.memory=141GiB), by a factor (fabric.bandwidth=2x) or a percentage "
        "(accelerator.peak=+20%). "
        "May be given several times.",
        parse_texts, ("--set",), "KEY=VALUE", is_required=True, is_repeatable=True,
        completion=Completion(CHANGE_KEYS),
    ),
    request="what-if",
)  # fmt: skip
def what_if(values: OptionValues, changes: Sequence[str], output: DocumentOutput) -> None:
    """Plan MODEL again with changes.

    \b
    Examples:
      planner what-if llama-3-70b -c dgx-h100 --nodes 16 -b 512 --set fabric.bandwidth=2x
      planner what-if llama-3-70b -c dgx-h100 --nodes 16 -b 512 --set accelerator.memory=141GiB
      planner what-if 13B -c dgx-a100 --nodes 4 -b 512 --set cluster.nodes=2x --set accelerator.peak=-10%
    """
    request = plan_request.build_plan_request(values, "what-if")
    change_pairs = input_changes.parse_changes(list(changes))
    base_side = _build_side(request)
    changed_side, changes_made = _build_changed_side(request, base_side, change_pairs)
    output.write(what_if_study.compute_what_if(base_side, changed_side, changes_made))


def _build_side(request: plan_request.PlanRequest) -> what_if_study.WhatIfSide:
    """The resolved request with every combination of its settings. Raises InputError."""
    scenarios, cluster, space = resolve.resolve_scenarios(request)
    return what_if_study.WhatIfSide(
        tuple(settings.enumerate_setting_scenarios(scenarios[0], request.settings)), cluster, space
    )


def _build_changed_side(
    request: plan_request.PlanRequest, base_side: what_if_study.WhatIfSide, change_pairs: list[tuple[str, str]]
) -> tuple[what_if_study.WhatIfSide, list[input_changes.InputChange]]:
    """The request with its options changed first, then the figures of its cluster, in the given order."""
    option_changes = [(key, text) for key, text in change_pairs if key in input_changes.SCENARIO_KEYS]
    changed_side = _rebuild_side(request, base_side, option_changes) if option_changes else base_side
    old_values, new_values = _list_changeable_values(base_side), _list_changeable_values(changed_side)
    change_by_key = {
        key: input_changes.InputChange(key, text, None, old_values[key], new_values[key])
        for key, text in option_changes
    }
    cluster = changed_side.cluster
    for key, text in change_pairs:
        if key not in input_changes.SCENARIO_KEYS:
            precision = changed_side.scenarios[0].precision
            input_changes.check_change_key(key, cluster, precision)
            cluster, change_by_key[key] = input_changes.apply_cluster_change(cluster, key, text, precision)
    try:
        return changed_side.rebind_cluster(cluster), [change_by_key[key] for key, _ in change_pairs]
    except InputError as error:
        raise error.relocate("with the changes", error.key) from None


def _list_changeable_values(side: what_if_study.WhatIfSide) -> dict[str, int | str]:
    """The options that a change may set, by the keys of changes."""
    scenario = side.scenarios[0]
    return {
        "cluster.nodes": side.cluster.nodes,
        "training.global_batch": scenario.global_batch,
        "training.precision": scenario.precision,
        "model.seq_length": scenario.workload.seq_length,
    }


def _rebuild_side(
    request: plan_request.PlanRequest, base_side: what_if_study.WhatIfSide, option_changes: list[tuple[str, str]]
) -> what_if_study.WhatIfSide:
    """The request with other options. An error names the change that caused it."""
    old_values = _list_changeable_values(base_side)
    options: dict[str, OptionValue | None] = {}
    for key, text in option_changes:
        old_value = old_values[key]
        options[input_changes.SCENARIO_KEYS[key]] = (
            input_changes.apply_option_change(key, text, old_value) if isinstance(old_value, int) else text
        )
    if "nodes" in options:
        options["devices"] = None
    try:
        changed_side = _build_side(request.replace_values(options))
    except InputError as error:
        keys = {f"--{option.replace('_', '-')}": key for key, option in input_changes.SCENARIO_KEYS.items()}
        raise error.relocate("--set", keys.get(error.key, error.key)) from None
    if changed_side.cluster.devices_per_node != base_side.cluster.devices_per_node:
        expected = "a base with whole nodes (--nodes)"
        raise InputError(
            "a number of devices that is a part of a node cannot be multiplied",
            origin="--set",
            key="cluster.nodes",
            expected=expected,
        )
    return changed_side
