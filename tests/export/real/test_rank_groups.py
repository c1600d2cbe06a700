"""The groups of every axis, and of experts, by rank: against megatron-core's own and torchtitan's mesh."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from planner.cost import rank_groups
from planner.cost.pipeline.stages import count_expert_shards
from planner.cost.rank_groups import RankLayout
from planner.cost.settings import RANK_ORDERS
from planner.cost.strategies import build_strategy
from planner.trainers.registry import TRAINERS_BY_NAME
from planner.trainers.trainer import find_numbering_order
from tests.cost.test_rank_groups import (
    BUILDERS,
    DEFAULT_ORDER,
    REFERENCES,
    Degrees,
    Groups,
    as_groups,
    draw_degrees,
    draw_shards,
    expand,
    find_groups,
    lay,
    list_megatron_groups,
)
from tests.examples import lab, lab_scenario, tiny
from tests.export.real.needs import import_package

pytestmark = pytest.mark.export

# megatron-core's names of its groups
GROUP_NAMES = {
    "TENSOR_MODEL_PARALLEL_GROUP": "tp",
    "CONTEXT_PARALLEL_GROUP": "cp",
    "DATA_PARALLEL_GROUP": "dp",
    "PIPELINE_MODEL_PARALLEL_GROUP": "pp",
    "DATA_PARALLEL_GROUP_WITH_CP": "dp-cp",
    "EXPERT_MODEL_PARALLEL_GROUP": "ep",
    "EXPERT_TENSOR_PARALLEL_GROUP": "etp",
    "EXPERT_DATA_PARALLEL_GROUP": "edp",
    "INTRA_PARTIAL_DATA_PARALLEL_GROUP_WITH_CP": "shards",
    "HIERARCHICAL_EXPERT_DATA_PARALLEL_GROUP_L0": "expert shards",
}
MEGATRON_ORDERS = {"tp-cp-dp-pp": "tp-cp-ep-dp-pp", "tp-cp-pp-dp": "tp-cp-ep-pp-dp"}
"""As Megatron-LM passes them, without and with `use_tp_pp_dp_mapping` (megatron/training/initialize.py)."""


def count_devices(d: Degrees) -> int:
    return d["tp"] * d["cp"] * d["dp"] * d["pp"]


@pytest.fixture
def make_megatron_groups(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The groups that megatron-core makes: its own function, on processes that do not run."""
    state, torch = import_package("megatron.core.parallel_state"), import_package("torch")

    def make_groups(d: Degrees, order: str, replicas: int = 1) -> dict[str, Groups]:
        made: dict[str, Groups] = {name: set() for name in GROUP_NAMES.values()}

        def record(ranks: list[int], *, group_desc: str, **_: object) -> str:
            if group_desc in GROUP_NAMES:
                made[GROUP_NAMES[group_desc]].add(tuple(sorted(ranks)))
            return group_desc

        with monkeypatch.context() as patch:
            patch.setattr(torch.distributed, "is_initialized", lambda: True)
            patch.setattr(torch.distributed, "get_world_size", lambda *_: count_devices(d))
            patch.setattr(torch.distributed, "get_rank", lambda *_: 0)
            patch.setattr(state, "create_group", record)
            try:
                state.initialize_model_parallel(
                    tensor_model_parallel_size=d["tp"],
                    pipeline_model_parallel_size=d["pp"],
                    context_parallel_size=d["cp"],
                    expert_model_parallel_size=d["ep"],
                    expert_tensor_parallel_size=d["etp"],
                    num_distributed_optimizer_instances=replicas,
                    order=MEGATRON_ORDERS[order],
                    create_gloo_process_groups=False,
                )
            finally:
                state.destroy_model_parallel()
        return {name: groups for name, groups in made.items() if groups}

    return make_groups


def test_megatron_makes_the_planned_groups_in_every_order(make_megatron_groups: Any) -> None:
    orders = set()
    for d, order in draw_degrees("megatron", 200):
        made, s, layout = make_megatron_groups(d, DEFAULT_ORDER), build_strategy(**d), RankLayout(order)
        assert made == list_megatron_groups(d, DEFAULT_ORDER)
        listed = rank_groups.list_rank_groups(RankLayout(DEFAULT_ORDER), s)
        assert {name: as_groups(groups) for name, groups in listed.items()} == made
        places = rank_groups.compute_rank_places(layout, RankLayout(DEFAULT_ORDER), s)
        for name, build in BUILDERS.items():
            group = build(layout, s)
            assert find_groups(group, len(places)) == lay(made[name], places), (d, order, name)
        orders.add(order)
    assert orders == set(RANK_ORDERS)


def test_megatron_shards_over_the_planned_groups(make_megatron_groups: Any) -> None:
    draw, refused = random.Random(2304), 0
    for d, _ in draw_degrees("megatron", 200, seed=18):
        shards, s, ranks = draw_shards(d, draw), build_strategy(**d), count_devices(d)
        replicas, scenario = d["dp"] * d["cp"] // shards, replace(lab_scenario(tiny(), lab()), shard_group=shards)
        made = make_megatron_groups(d, DEFAULT_ORDER, replicas)
        if replicas > 1:
            layout, expert_shards = RankLayout(DEFAULT_ORDER), count_expert_shards(scenario, s)
            assert find_groups(BUILDERS["dp-cp"](layout, s).split(np.array([shards]))[0], ranks) == made["shards"]
            assert find_groups(BUILDERS["edp"](layout, s).split(expert_shards)[0], ranks) == made["expert shards"]
        # what the rule of the program refuses, Megatron refuses
        for group in (group for group in range(1, d["dp"] * d["cp"]) if d["dp"] * d["cp"] % group == 0):
            if d["tp"] * group % (d["etp"] * d["ep"]):
                refused += 1
                with pytest.raises(AssertionError):
                    make_megatron_groups(d, DEFAULT_ORDER, d["dp"] * d["cp"] // group)
    assert refused > 20


def test_megatron_refuses_the_orders_that_it_is_not_told(make_megatron_groups: Any) -> None:
    refused = ordered = 0
    for d, _ in draw_degrees("megatron", 200):
        if d["pp"] == 1 or d["dp"] == 1:
            continue
        if find_numbering_order(TRAINERS_BY_NAME["megatron"], "tp-cp-pp-dp", d, has_experts=True) == DEFAULT_ORDER:
            refused += 1
            with pytest.raises(AssertionError):
                make_megatron_groups(d, "tp-cp-pp-dp")
        else:
            ordered += 1
            assert make_megatron_groups(d, "tp-cp-pp-dp") == list_megatron_groups(d, "tp-cp-pp-dp")
    assert refused > 20
    assert ordered > 10


def test_dense_groups_are_those_of_megatrons_generator_in_any_order() -> None:
    state = import_package("megatron.core.parallel_state")
    for d, order in draw_degrees("megatron", 200, seed=17):
        generator = state.RankGenerator(tp=d["tp"], ep=1, dp=d["dp"], pp=d["pp"], cp=d["cp"], order=order)
        for name in ("tp", "cp", "dp-cp"):
            expected = {tuple(sorted(ranks)) for ranks in generator.get_ranks(name)}
            assert expand(BUILDERS[name](RankLayout(order), build_strategy(**d)), count_devices(d)) == expected


@contextmanager
def start_fake_processes(torch: Any, world_size: int) -> Iterator[None]:
    store = import_package("torch.testing._internal.distributed.fake_pg").FakeStore()
    torch.distributed.init_process_group("fake", rank=0, world_size=world_size, store=store)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def list_mesh_groups(mesh: Any, *names: str) -> Groups:
    """The groups of a mesh that span these axes."""
    axes = [mesh.mesh_dim_names.index(name) for name in names]
    ranks = np.moveaxis(mesh.mesh.numpy(), axes, range(-len(axes), 0))
    return {tuple(sorted(group)) for group in ranks.reshape(-1, int(np.prod(ranks.shape[-len(axes) :]))).tolist()}


def test_torchtitan_makes_the_planned_groups() -> None:
    torch, dims = import_package("torch"), import_package("torchtitan.distributed.parallel_dims")
    for d, _ in draw_degrees("fsdp2", 200):
        # replicas are outside the shards
        replicas = 2 if d["dp"] % 2 == 0 and d["dp"] // 2 * d["cp"] * d["tp"] % d["ep"] == 0 else 1
        with start_fake_processes(torch, count_devices(d)):
            made = dims.ParallelDims(
                dp_replicate=replicas,
                dp_shard=d["dp"] // replicas,
                cp=d["cp"],
                tp=d["tp"],
                pp=d["pp"],
                ep=d["ep"],
                world_size=count_devices(d),
            )
            made.build_mesh()
            dense, sparse = made._global_meshes["dense"], made._global_meshes["sparse"]
            found = {
                "tp": list_mesh_groups(dense, "tp"),
                "cp": list_mesh_groups(dense, "cp"),
                "dp": list_mesh_groups(dense, "dp_replicate", "dp_shard"),
                "pp": list_mesh_groups(dense, "pp"),
                "dp-cp": list_mesh_groups(dense, "dp_replicate", "dp_shard", "cp"),
                "ep": list_mesh_groups(sparse, "ep"),
                "etp": {(rank,) for rank in range(count_devices(d))},
                "edp": list_mesh_groups(sparse, "dp_replicate", "efsdp"),
            }
            if d["ep"] > 1:
                ranks = torch.distributed.get_process_group_ranks(made.get_mesh("ep").get_group())
                assert tuple(sorted(ranks)) in found["ep"]
        assert found == REFERENCES["fsdp2"](d), d
        listed = rank_groups.list_rank_groups(RankLayout(DEFAULT_ORDER), build_strategy(**d))
        assert {name: as_groups(groups) for name, groups in listed.items()} == found
