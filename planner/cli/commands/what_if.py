"""`planner what-if`: plan again with changes, and print both plans side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from planner.cli.io.output import DocumentOutput
from planner.cli.lazy import import_lazily
from planner.cli.options.command import OptionValues, declare_command
from planner.errors import InputError
from planner.request.options import Completion, Option
from planner.request.values import OptionValue, parse_texts

with import_lazily():
    from planner.cluster.model import cluster as clusters
    from planner.request import inputs, plan_request, resolve
    from planner.search import settings
    from planner.studies import changes as input_changes
    from planner.studies import what_if as what_if_study
    from planner.workload import operators

NAME_KEYS = {"accelerator": "accelerators", "node": "nodes", "cluster": "clusters", "training.trainer": "trainers"}
"""Keys whose values are names, with the sources of their completion."""
AMOUNT_KEYS = (
    "accelerator.memory", "accelerator.memory_bandwidth", "accelerator.peak", "accelerator.power",
    "accelerator.price", "node.link.bandwidth", "node.link.latency", "fabric.bandwidth", "fabric.latency",
    "host.memory", "host.bandwidth", "host.link", "cluster.nodes", "training.global_batch",
    "training.precision", "model.seq_length",
)  # fmt: skip


@declare_command(
    Option(
        "changes", "Objective",
        "A change: to an amount (accelerator.memory=141GiB), by a factor (fabric.bandwidth=2x) or a percentage "
        "(accelerator.peak=+20%), or of a whole part (accelerator=h200-sxm, cluster=dgx-b200). "
        f"Keys: {', '.join((*NAME_KEYS, *AMOUNT_KEYS))}; fabric.LEVEL.bandwidth and .latency of one level, "
        "accelerator.peak.PRECISION of one precision. May be given several times.",
        parse_texts, ("--set",), "KEY=VALUE", is_required=True, is_repeatable=True,
        completion=Completion(tuple(f"{key}=" for key in (*NAME_KEYS, *AMOUNT_KEYS)), value_sources=NAME_KEYS),
    ),
    request="what-if",
)  # fmt: skip
def what_if(values: OptionValues, changes: Sequence[str], output: DocumentOutput) -> None:
    """Show what changes do to the best plan of MODEL, and plan again with them.

    \b
    Examples:
      planner what-if llama-3-70b -c dgx-h100 --nodes 16 -b 512 --set fabric.bandwidth=2x
      planner what-if llama-3-70b -c dgx-h100 --nodes 16 -b 512 --set accelerator.memory=141GiB
      planner what-if llama-3-70b -c dgx-h100 --nodes 16 -b 512 --set accelerator=h200-sxm
      planner what-if 13B -c dgx-a100 --nodes 4 -b 512 --set cluster.nodes=2x --set accelerator.peak=-10%
    """
    request = plan_request.build_plan_request(values, "what-if")
    change_pairs = input_changes.parse_changes(list(changes))
    base_side = _build_side(request, {})
    changed_side, changes_made = _build_changed_side(request, base_side, change_pairs)
    output.write(what_if_study.compute_what_if(base_side, changed_side, changes_made))


def _build_side(request: plan_request.PlanRequest, parts: Mapping[str, str]) -> what_if_study.WhatIfSide:
    """The resolved request with every combination of its settings, and with exchanged parts of its cluster.

    Raises InputError.
    """

    def read_exchanged(request: plan_request.PlanRequest) -> tuple[operators.Workload, clusters.Cluster]:
        workload = inputs.read_model(request.model, request.seq_length, request.mtp_layers)
        sizes = request.nodes, request.devices, request.fault
        return workload, inputs.read_exchanged_cluster(request.cluster, *sizes, parts)

    scenarios, cluster, space = resolve.resolve_scenarios(request, read_exchanged if parts else resolve.read_inputs)
    return what_if_study.WhatIfSide(
        tuple(settings.enumerate_setting_scenarios(scenarios[0], request.settings)), cluster, space
    )


def _build_changed_side(
    request: plan_request.PlanRequest, base_side: what_if_study.WhatIfSide, change_pairs: list[tuple[str, str]]
) -> tuple[what_if_study.WhatIfSide, list[input_changes.InputChange]]:
    """The request with its options and parts changed first, then the figures of its cluster, in the given order."""
    whole_keys = (*input_changes.SCENARIO_KEYS, *input_changes.PART_KEYS)
    whole_changes = {key: text for key, text in change_pairs if key in whole_keys}
    changed_side = _rebuild_side(request, base_side, whole_changes) if whole_changes else base_side
    old_values, new_values = _list_changeable_values(base_side), _list_changeable_values(changed_side)
    old_values["node"], new_values["node"] = _find_node_name(request), whole_changes.get("node", "").casefold()
    change_by_key = {
        key: input_changes.InputChange(key, text, None, old_values[key], new_values[key])
        for key, text in whole_changes.items()
    }
    cluster = changed_side.cluster
    for key, text in change_pairs:
        if key not in whole_keys:
            precision = changed_side.scenarios[0].precision
            input_changes.check_change_key(key, cluster, precision)
            cluster, change_by_key[key] = input_changes.apply_cluster_change(cluster, key, text, precision)
    try:
        return changed_side.rebind_cluster(cluster), [change_by_key[key] for key, _ in change_pairs]
    except InputError as error:
        raise error.relocate("with the changes", error.key) from None


def _find_node_name(request: plan_request.PlanRequest) -> str:
    """The name of the kind of node of the request's cluster; empty where its hosts have several."""
    node = inputs.read_cluster_spec(request.cluster)[0].node
    return "" if node is None else node if isinstance(node, str) else node.name


def _list_changeable_values(side: what_if_study.WhatIfSide) -> dict[str, int | str]:
    """The options and parts that a change may set, by the keys of changes; the name of the node is left out."""
    scenario = side.scenarios[0]
    return {
        "accelerator": side.cluster.accelerator.name,
        "cluster": side.cluster.name,
        "cluster.nodes": side.cluster.nodes,
        "training.global_batch": scenario.global_batch,
        "training.precision": scenario.precision,
        "training.trainer": scenario.trainer.version or scenario.trainer.name,
        "model.seq_length": scenario.workload.seq_length,
    }


def _rebuild_side(
    request: plan_request.PlanRequest, base_side: what_if_study.WhatIfSide, whole_changes: Mapping[str, str]
) -> what_if_study.WhatIfSide:
    """The request with other options and parts. An error names the change that caused it."""
    old_values = _list_changeable_values(base_side)
    options: dict[str, OptionValue | None] = {}
    for key, option in input_changes.SCENARIO_KEYS.items():
        if key in whole_changes:
            text, old_value = whole_changes[key], old_values[key]
            is_count = isinstance(old_value, int)
            options[option] = input_changes.apply_option_change(key, text, old_value) if is_count else text  # type: ignore[arg-type]
    if "nodes" in options:
        options["devices"] = None
    elif "cluster" in options and request.nodes is None and request.devices is None:
        # a preset has its own number of nodes, which is not in the question
        options["nodes"] = str(base_side.cluster.nodes)
    parts = {key: whole_changes[key] for key in input_changes.PART_KEYS if key in whole_changes}
    try:
        changed_side = _build_side(request.replace_values(options), parts)
    except InputError as error:
        keys = {f"--{option.replace('_', '-')}": key for key, option in input_changes.SCENARIO_KEYS.items()}
        raise error.relocate("--set", keys.get(error.key, error.key)) from None
    is_same_node = changed_side.cluster.devices_per_node == base_side.cluster.devices_per_node
    if "cluster.nodes" in whole_changes and not is_same_node:
        expected = "a base with whole nodes (--nodes)"
        raise InputError(
            "a number of devices that is a part of a node cannot be multiplied",
            origin="--set",
            key="cluster.nodes",
            expected=expected,
        )
    return changed_side
