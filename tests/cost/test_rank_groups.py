"""The groups of every axis, and of experts, by rank: against each trainer's rule, restated slowly.

The same references are compared with the trainers' own code in `tests/export/real/test_rank_groups.py`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from planner.cluster.network.build import build_network
from planner.cost import rank_groups
from planner.cost.arrays import Ints
from planner.cost.collectives.algorithms import compute_tier_crossing
from planner.cost.pipeline.stages import count_expert_shards
from planner.cost.rank_groups import RankGroup, RankLayout
from planner.cost.settings import RANK_ORDERS
from planner.cost.strategies import Strategies, build_strategy
from planner.trainers.names import TrainerName
from planner.trainers.registry import TRAINERS_BY_NAME
from planner.trainers.trainer import find_numbering_order
from tests.cli.run import call
from tests.examples import lab, lab_scenario, tiny

Groups = set[tuple[int, ...]]
"""Groups of ranks, each sorted; their order has no meaning."""
Degrees = dict[str, int]
DEFAULT_ORDER = RANK_ORDERS[0]
BUILDERS = {
    "tp": rank_groups.build_tensor_group,
    "cp": rank_groups.build_context_group,
    "dp-cp": rank_groups.build_data_group,
    "ep": rank_groups.build_expert_group,
    "edp": rank_groups.build_expert_data_group,
}


def group_by_coordinates(sizes: dict[str, int], spanned: Sequence[str]) -> Groups:
    """Ranks numbered through `sizes`, from the inside out, that differ in `spanned` alone, one rank at a time."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for rank in range(int(np.prod([*sizes.values()]))):
        rest, fixed = rank, []
        for name, size in sizes.items():
            if name not in spanned:
                fixed.append(rest % size)
            rest //= size
        groups.setdefault(tuple(fixed), []).append(rank)
    return {tuple(ranks) for ranks in groups.values()}


def list_megatron_groups(d: Degrees, order: str) -> dict[str, Groups]:
    """As megatron-core 0.16.1 numbers ranks: one numbering of the decoder, another of the experts, in which ep stands
    in the order before dp, or before pp and dp, and cp is left out; both in one order.
    """
    edp = d["tp"] * d["cp"] * d["dp"] // (d["etp"] * d["ep"])
    decoder = {name: d[name] for name in order.split("-")}
    expert_sizes = {"tp": d["etp"], "cp": 1, "ep": d["ep"], "dp": edp, "pp": d["pp"]}
    assert order in ("tp-cp-dp-pp", "tp-cp-pp-dp")
    expert = {name: expert_sizes[name] for name in order.replace("cp-", "cp-ep-").split("-")}
    return {
        **{name: group_by_coordinates(decoder, name.split("-")) for name in ("tp", "cp", "dp", "pp", "dp-cp")},
        "ep": group_by_coordinates(expert, ["ep"]),
        "etp": group_by_coordinates(expert, ["tp"]),
        "edp": group_by_coordinates(expert, ["dp"]),
    }


def list_torchtitan_groups(d: Degrees) -> dict[str, Groups]:
    """As the meshes of torchtitan 0.3.0: (pp, dp, cp, tp), and for experts (pp, efsdp, ep), outermost first."""
    dense = {name: d[name] for name in ("tp", "cp", "dp", "pp")}
    sparse = {"ep": d["ep"], "efsdp": d["tp"] * d["cp"] * d["dp"] // d["ep"], "pp": d["pp"]}
    return {
        **{name: group_by_coordinates(dense, name.split("-")) for name in ("tp", "cp", "dp", "pp", "dp-cp")},
        "ep": group_by_coordinates(sparse, ["ep"]),
        "etp": group_by_coordinates(sparse, []),
        "edp": group_by_coordinates(sparse, ["efsdp"]),
    }


def list_deepspeed_groups(d: Degrees) -> dict[str, Groups]:
    """As DeepSpeed 0.19: the ranks of a data-parallel group in runs of ep."""
    dense = {name: d[name] for name in ("tp", "cp", "dp", "pp")}
    data_groups = group_by_coordinates(dense, ["cp", "dp"])
    runs = [[ranks[at : at + d["ep"]] for at in range(0, len(ranks), d["ep"])] for ranks in sorted(data_groups)]
    return {
        **{name: group_by_coordinates(dense, name.split("-")) for name in ("tp", "cp", "dp", "pp", "dp-cp")},
        "ep": {run for part in runs for run in part},
        "etp": group_by_coordinates(dense, ["tp"]),
        "edp": {tuple(run[place] for run in part) for part in runs for place in range(d["ep"])},
    }


def list_maxtext_groups(d: Degrees) -> dict[str, Groups]:
    """As the mesh of MaxText 0.2.5: (data and fsdp, context, tensor, expert), outermost first; the batch is cut over
    experts too.
    """
    mesh = {"expert": d["ep"], "tensor": d["tp"], "context": d["cp"], "fsdp": d["dp"] // d["ep"], "stage": d["pp"]}
    return {
        "tp": group_by_coordinates(mesh, ["tensor"]),
        "cp": group_by_coordinates(mesh, ["context"]),
        "dp": group_by_coordinates(mesh, ["fsdp", "expert"]),
        "pp": group_by_coordinates(mesh, ["stage"]),
        "dp-cp": group_by_coordinates(mesh, ["fsdp", "context", "expert"]),
        "ep": group_by_coordinates(mesh, ["expert"]),
        "etp": group_by_coordinates(mesh, ["tensor"]),
        "edp": group_by_coordinates(mesh, ["fsdp", "context"]),
    }


REFERENCES: dict[TrainerName, Callable[[Degrees], dict[str, Groups]]] = {
    "megatron": lambda d: list_megatron_groups(d, DEFAULT_ORDER),
    "fsdp2": list_torchtitan_groups,
    "deepspeed": list_deepspeed_groups,
    "maxtext": list_maxtext_groups,
}


def draw_degrees(trainer: str, count: int, seed: int = 16) -> Iterator[tuple[Degrees, str]]:
    """Random splits that a trainer can run, and orders."""
    draw = random.Random(f"{trainer} {seed}")
    while count:
        d = {name: draw.choice((1, 1, 2, 2, 3, 4, 6)) for name in ("tp", "cp", "dp", "pp")}
        d["etp"] = {"fsdp2": 1, "deepspeed": d["tp"], "maxtext": d["tp"]}.get(trainer, draw.choice((1, d["tp"])))
        sharers = d["dp"] if trainer == "maxtext" else d["tp"] * d["cp"] * d["dp"] // d["etp"]
        d["ep"] = draw.choice([ep for ep in range(1, sharers + 1) if sharers % ep == 0])
        if np.prod([d[name] for name in ("tp", "cp", "dp", "pp")]) <= 300:
            count -= 1
            yield d, draw.choice(RANK_ORDERS)


def expand(group: RankGroup, devices: int) -> Groups:
    """All groups of the first plan, by place."""
    offsets = [
        sum(index * int(stride) for index, stride in zip(indexes, group.strides[0], strict=True))
        for indexes in product(*(range(int(size)) for size in group.sizes[0]))
    ]
    first = [
        rank
        for rank in range(devices)
        if all(
            size == 1 or rank // stride % size == 0
            for size, stride in zip(group.sizes[0].tolist(), group.strides[0].tolist(), strict=True)
        )
    ]
    return {tuple(sorted(rank + offset for offset in offsets)) for rank in first}


def lay(groups: Groups, places: Ints) -> Groups:
    """Groups of ranks as the places that they lie on."""
    return {tuple(sorted(places[[*group]].tolist())) for group in groups}


def as_groups(groups: Ints) -> Groups:
    """A table of groups as sets of ranks."""
    return {tuple(sorted(group)) for group in groups.tolist()}


@pytest.mark.parametrize("trainer", REFERENCES)
def test_groups_are_those_of_the_trainer(trainer: TrainerName) -> None:
    has_expert_axis = TRAINERS_BY_NAME[trainer].has_expert_axis
    straddling = 0
    for d, order in draw_degrees(trainer, 60):
        s, layout = build_strategy(**d), RankLayout(order, has_expert_axis)
        numbering = RankLayout(DEFAULT_ORDER, has_expert_axis)
        expected = REFERENCES[trainer](d)
        listed = rank_groups.list_rank_groups(numbering, s)
        assert {name: as_groups(groups) for name, groups in listed.items()} == expected, (d, order)
        # where a rankfile lays them is where the cost model has them
        places = rank_groups.compute_rank_places(layout, numbering, s)
        for name, build in BUILDERS.items():
            group = build(layout, s)
            assert int(group.size[0]) == len(next(iter(expected[name])))
            laid = lay(expected[name], places)
            straddling += group.run is not None
            assert find_groups(group, len(places)) == laid, (d, order, name)
            if len(places) % 4 == 0:
                counted = compute_tier_crossing(build_network(lab(nodes=len(places) // 4)), group).node_count[0]
                nodes = max(len({place // 4 for place in places}) for places in laid)
                is_exact = group.run is not None or not any(size % 3 == 0 for size in d.values())
                assert counted == pytest.approx(nodes) if is_exact else counted >= nodes - 1e-9, (d, order, name)
    assert straddling > 0 or trainer == "maxtext"


@pytest.mark.parametrize("order", ["tp-cp-dp-pp", "tp-cp-pp-dp"])
def test_orders_that_megatron_can_be_told_need_no_rankfile(order: str) -> None:
    trainer, ordered = TRAINERS_BY_NAME["megatron"], 0
    for d, _ in draw_degrees("megatron", 120):
        numbering = find_numbering_order(trainer, order, d, has_experts=True)
        s = build_strategy(**d)
        places = rank_groups.compute_rank_places(RankLayout(order), RankLayout(numbering), s)
        laid = {name: lay(groups, places) for name, groups in list_megatron_groups(d, numbering).items()}
        assert {
            name: lay(as_groups(groups), places)
            for name, groups in rank_groups.list_rank_groups(RankLayout(numbering), s).items()
        } == laid
        if numbering == order:
            ordered += 1
            assert (places == np.arange(len(places))).all()
        by_default = rank_groups.compute_rank_places(RankLayout(order), RankLayout(DEFAULT_ORDER), s)
        expected = list_megatron_groups(d, DEFAULT_ORDER)
        # a rankfile of the default order lays the same groups
        assert laid == {name: lay(groups, by_default) for name, groups in expected.items()}, (d, numbering)
    assert ordered > 5


def draw_shards(d: Degrees, draw: random.Random) -> int:
    """How many dp x cp ranks shard the model, of the numbers that a trainer takes: experts have as many replicas."""
    ranks, edp = d["dp"] * d["cp"], d["tp"] * d["cp"] * d["dp"] // (d["etp"] * d["ep"])
    return ranks // draw.choice([n for n in range(1, ranks + 1) if ranks % n == 0 and edp % n == 0])


def find_groups(group: RankGroup, devices: int) -> Groups:
    """All groups of the first plan, by place."""
    return expand(group, devices) if group.run is None else as_groups(group.run.list_places(0, devices))


def test_hybrid_shards_are_neighbours_by_number_and_experts_have_as_many_replicas() -> None:
    draw = random.Random(2304)
    for d, order in draw_degrees("megatron", 60, seed=18):
        shards, s, layout = draw_shards(d, draw), build_strategy(**d), RankLayout(order)
        scenario = replace(lab_scenario(tiny(), lab()), shard_group=shards)
        places = rank_groups.compute_rank_places(layout, RankLayout(DEFAULT_ORDER), s)
        whole = list_megatron_groups(d, DEFAULT_ORDER)
        for name, count in (("dp-cp", shards), ("edp", int(count_expert_shards(scenario, s)[0]))):
            assert len(next(iter(whole[name]))) // count == d["dp"] * d["cp"] // shards
            inner, outer = BUILDERS[name](layout, s).split(np.array([count]))
            slices = [[ranks[at : at + count] for at in range(0, len(ranks), count)] for ranks in whole[name]]
            assert find_groups(inner, len(places)) == lay({ranks for part in slices for ranks in part}, places)
            replicas = {ranks for part in slices for ranks in zip(*part, strict=True)}
            assert find_groups(outer, len(places)) == lay(replicas, places), (d, order, shards, name)


def test_experts_of_the_default_order_are_neighbours() -> None:
    s = build_strategy(tp=2, dp=6, ep=3)
    group = rank_groups.build_expert_group(RankLayout(DEFAULT_ORDER), s)
    assert expand(group, 12) == {(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11)}


def test_experts_laid_by_a_rankfile_lie_where_megatron_has_them() -> None:
    # tp 2, cp 2, dp 4, pp 2, ep 4: Megatron's ranks 0 to 3 are of two cp ranks, eight places apart
    s = build_strategy(tp=2, cp=2, dp=4, pp=2, ep=4)
    layout = RankLayout("tp-dp-cp-pp")
    assert (0, 1, 8, 9) in expand(rank_groups.build_expert_group(layout, s), 32)
    network = build_network(lab(nodes=4))
    assert compute_tier_crossing(network, rank_groups.build_expert_group(layout, s)).node_count[0] == 2


def test_many_plans_are_as_each_alone() -> None:
    drawn = [d for d, _ in draw_degrees("megatron", 60)]
    together = Strategies(
        **{
            name: np.concatenate([getattr(build_strategy(**d), name) for d in drawn])
            for name in vars(build_strategy())
        }
    )
    network = build_network(lab(nodes=64))
    for order, build in product(("tp-cp-dp-pp", "tp-dp-cp-pp", "pp-dp-cp-tp"), BUILDERS.values()):
        layout = RankLayout(order)
        members = compute_tier_crossing(network, build(layout, together)).members
        alone = [compute_tier_crossing(network, build(layout, build_strategy(**d))).members[0] for d in drawn]
        assert (members == np.stack(alone)).all()


def test_the_topology_command_prints_groups_that_plans_have() -> None:
    document = json.loads(call("planner", "topology", "dgx-h100", "--nodes", "4", "--format", "json").stdout)
    devices, checked = document["cluster"]["devices"], set()
    for group in document["groups"]:
        ranks, stride, name = group["ranks"], group["stride"], group["group"]
        if name == "scale-up":
            continue
        rest = devices // (ranks * stride)
        degrees = {
            "tp": {"tp": ranks, "dp": rest},
            "ep": {"ep": ranks, "dp": devices},
            "dp": {"tp": stride, "dp": ranks, "pp": rest},
            "pp": {"tp": stride, "pp": ranks, "dp": rest},
        }[name]
        listed = rank_groups.list_rank_groups(RankLayout(DEFAULT_ORDER), build_strategy(**degrees))
        assert listed[name][0].tolist() == [stride * rank for rank in range(ranks)]
        checked.add(name)
    assert checked == {"tp", "ep", "dp", "pp"}
