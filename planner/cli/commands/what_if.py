"""`planner what-if`: plan again with changes, and print both plans side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options.output import read_plan_output
from planner.cli.options.parameters import OptionValues, take_options
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.request.plan_request import PlanRequest
    from planner.request.values import OptionValue
    from planner.studies.changes import InputChange
    from planner.studies.what_if import WhatIfSide

ChangesOption = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        rich_help_panel="Objective",
        help="A change: to an amount (accelerator.memory=141GiB), by a factor (2x) or a percentage (+20%). "
        "May be given several times.",
    ),
]


@take_options("what-if")
def what_if(values: OptionValues, changes: ChangesOption) -> None:
    """Plan MODEL again with changes.

    \b
    Examples:
      planner what-if llama-3-70b -c dgx-h100 --nodes 16 -b 512 --set fabric.bandwidth=2x
      planner what-if llama-3-70b -c dgx-h100 --nodes 16 -b 512 --set accelerator.memory=141GiB
      planner what-if 13B -c dgx-a100 --nodes 4 -b 512 --set cluster.nodes=2x --set accelerator.peak=-10%
    """
    from planner.cli.io.output import write_document
    from planner.request.plan_request import build_plan_request

    output = read_plan_output(values)
    request = build_plan_request(values, "what-if")
    from planner.studies.changes import parse_changes
    from planner.studies.what_if import compute_what_if as compare_sides

    change_pairs = parse_changes(changes)
    base_side = _build_side(request)
    changed_side, changes_made = _build_changed_side(request, base_side, change_pairs)
    document = compare_sides(base_side, changed_side, changes_made)

    write_document(document, output.format_name, output.files)


def _build_side(request: PlanRequest) -> WhatIfSide:
    """The resolved request with every combination of its settings. Raises InputError."""
    from planner.request.resolve import resolve_scenarios
    from planner.search.settings import enumerate_setting_scenarios
    from planner.studies.what_if import WhatIfSide

    scenarios, cluster, space = resolve_scenarios(request)
    return WhatIfSide(tuple(enumerate_setting_scenarios(scenarios[0], request.settings)), cluster, space)


def _build_changed_side(
    request: PlanRequest, base_side: WhatIfSide, change_pairs: list[tuple[str, str]]
) -> tuple[WhatIfSide, list[InputChange]]:
    """The request with its options changed first, then the figures of its cluster, in the given order."""
    from planner.studies.changes import SCENARIO_KEYS, InputChange, apply_cluster_change, check_change_key

    option_changes = [(key, text) for key, text in change_pairs if key in SCENARIO_KEYS]
    changed_side = _rebuild_side(request, base_side, option_changes) if option_changes else base_side
    old_values, new_values = _list_changeable_values(base_side), _list_changeable_values(changed_side)
    change_by_key = {
        key: InputChange(key, text, None, old_values[key], new_values[key]) for key, text in option_changes
    }
    cluster = changed_side.cluster
    for key, text in change_pairs:
        if key not in SCENARIO_KEYS:
            precision = changed_side.scenarios[0].precision
            check_change_key(key, cluster, precision)
            cluster, change_by_key[key] = apply_cluster_change(cluster, key, text, precision)
    return changed_side.rebind_cluster(cluster), [change_by_key[key] for key, _ in change_pairs]


def _list_changeable_values(side: WhatIfSide) -> dict[str, int | str]:
    """The options that a change may set, by the keys of changes."""
    scenario = side.scenarios[0]
    return {
        "cluster.nodes": side.cluster.nodes,
        "training.global_batch": scenario.global_batch,
        "training.precision": scenario.precision,
        "model.seq_length": scenario.workload.seq_length,
    }


def _rebuild_side(request: PlanRequest, base_side: WhatIfSide, option_changes: list[tuple[str, str]]) -> WhatIfSide:
    """The request with other options. An error names the change that caused it."""
    from planner.studies.changes import SCENARIO_KEYS, apply_option_change

    old_values = _list_changeable_values(base_side)
    options: dict[str, OptionValue | None] = {}
    for key, text in option_changes:
        old_value = old_values[key]
        options[SCENARIO_KEYS[key]] = (
            apply_option_change(key, text, old_value) if isinstance(old_value, int) else text
        )
    if "nodes" in options:
        options["devices"] = None
    try:
        changed_side = _build_side(request.replace_values(options))
    except InputError as error:
        keys = {f"--{option.replace('_', '-')}": key for key, option in SCENARIO_KEYS.items()}
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
