"""What each setting changes in time and in memory, against the equation of the cost model's page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.cost.flops import compute_attention_flops, compute_required_flops
from planner.cost.layer_tables import build_layer_shard
from planner.cost.memory.moments import MEMORY_MOMENTS
from planner.cost.memory.peak import compute_peak_memory_bytes, compute_stage_memory
from planner.cost.operators import compute_operator_times, get_operator_cost
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.step import compute_step_costs
from planner.cost.strategies import Strategies, build_strategy
from planner.cost.techniques import apply_optimizer
from planner.cost.timeline import simulate_pipeline
from planner.errors import InputError
from planner.request.inputs import read_cluster
from planner.search.search import search_plans
from planner.search.settings import enumerate_setting_scenarios
from planner.search.space import Space
from planner.trainers.names import TrainerName
from planner.trainers.registry import TRAINERS_BY_NAME
from planner.workload.operators import AttentionCore, ExpertLinear
from planner.workload.presets import read_model_preset
from planner.workload.spec import MoeSpec
from planner.workload.transformer import build_workload
from tests.examples import lab, tiny


def change(q: Scenario, **values: str) -> Scenario:
    """The scenario with these values of settings."""
    (changed,) = enumerate_setting_scenarios(q, {name: (value,) for name, value in values.items()})
    return changed


def build(framework: TrainerName, **model: object) -> Scenario:
    """A tiny model under a trainer."""
    return build_scenario(tiny(**model), lab(), global_batch=32, framework=framework)


def held(q: Scenario, plan: Strategies, kind: str) -> float:
    return float(compute_peak_memory_bytes(q, plan)[kind][0])


def compute(q: Scenario, plan: Strategies) -> float:
    """Seconds of the kernels of a step."""
    terms = compute_step_costs(q, plan).terms
    return float(terms["forward"][0] + terms["backward"][0])


def test_a_loss_holds_its_bytes_per_logit() -> None:
    q, plan, tokens, vocab, hidden = build("fsdp2"), build_strategy(dp=16), 1024, 8192, 512
    logits = {name: held(change(q, loss=name), plan, "logits") for name in ("plain", "compiled", "fused", "chunked")}
    plain_bytes = q.trainer.loss_bytes_per_logit
    assert logits["plain"] - logits["compiled"] == tokens * vocab * (plain_bytes - 4)
    assert logits["fused"] == logits["compiled"]
    # eager: chunks of the plain loss beside the chunk's own logits, and the 32-bit gradient of the hidden states
    chunk_bytes, compiled_chunk_bytes = (
        compute_stage_memory(one, plan, build_plan_tables(one, plan)).moment_bytes["logits"][
            0, MEMORY_MOMENTS.index("loss"), 0
        ]
        for one in (change(launched, loss="chunked") for launched in (q, replace(q, launch_mode="compiled")))
    )
    in_chunk = vocab * (plain_bytes + 2) / 8
    assert logits["plain"] - chunk_bytes == pytest.approx(tokens * (vocab * plain_bytes - in_chunk - 4 * hidden))
    assert compiled_chunk_bytes < chunk_bytes


def test_a_loss_moves_its_bytes_three_times() -> None:
    q, plan = replace(build("fsdp2"), launch_mode="graph"), build_strategy(dp=16)
    saved_s = compute(change(q, loss="plain"), plan) - compute(change(q, loss="fused"), plan)
    more_bytes = q.trainer.loss_bytes_per_logit - 4
    micro_batches, bandwidth = 2, q.accelerator.memory_bandwidth_bytes_per_s * q.calibration.memory_efficiency
    assert saved_s == pytest.approx(micro_batches * 3 * more_bytes * 1024 * 8192 / bandwidth)
    # in chunks the same bytes move, and the head's multiplies have more edges
    assert compute(change(q, loss="chunked"), plan) > compute(q, plan)


@pytest.mark.parametrize(("framework", "own"), [("megatron", "plain"), ("fsdp", "fused"), ("maxtext", "plain")])
def test_the_loss_is_the_trainers_own(framework: TrainerName, own: str) -> None:
    q = build(framework)
    assert q.loss == own
    assert change(q, loss=own) == q


@pytest.mark.parametrize(("framework", "shard_bytes"), [("megatron", 12), ("fsdp2", 12), ("deepspeed", 12)])
def test_the_optimizer_holds_master_weights_and_moments(framework: TrainerName, shard_bytes: int) -> None:
    q, plan = build(framework), build_strategy(dp=16, zero_stage=1)
    own = held(q, plan, "optimizer")
    assert own == pytest.approx(shard_bytes * q.workload.parameters / 16)
    for moments, bytes_less in (("bf16", 4), ("fp8", 6)):
        assert own - held(change(q, moments=moments), plan, "optimizer") == pytest.approx(own * bytes_less / 12)
    assert own - held(change(q, master="bf16"), plan, "optimizer") == pytest.approx(own * 2 / 12)
    # FSDP's parameters are its master weights: without these they are the 16-bit parameters
    least = 2 if framework == "fsdp2" else 0
    assert held(change(q, master="none", moments="bf16"), plan, "optimizer") == pytest.approx(own * (least + 4) / 12)


def test_the_update_moves_the_state_twice() -> None:
    q, plan = build("megatron"), build_strategy(dp=16, zero_stage=1)
    own, narrow = (
        compute_step_costs(scenario, plan).terms["optimizer"][0]
        for scenario in (q, change(q, moments="bf16", master="bf16"))
    )
    assert narrow / own == pytest.approx((4 + 2 * 6 + 2) / (4 + 2 * 12 + 2))


def test_weights_are_gathered_in_their_format() -> None:
    q, plan = build("fsdp2"), build_strategy(dp=16, zero_stage=3)
    bulk = replace(q, dp_overlap=False)
    seconds = [
        float(compute_step_costs(change(bulk, gather=name), plan).terms["data_parallel"][0])
        for name in ("fp8", "bf16", "fp32")
    ]
    assert seconds[0] < seconds[1] < seconds[2]
    assert seconds[1] == compute_step_costs(bulk, plan).terms["data_parallel"][0]
    assert held(change(q, gather="fp8"), plan, "weights") == held(q, plan, "weights")


def test_formats_that_contradict_are_refused() -> None:
    q = build("megatron")
    with pytest.raises(InputError, match="adam8bit"):
        change(apply_optimizer(q, "adam8bit"), moments="bf16")
    wide = build_scenario(tiny(), lab(), global_batch=32, precision="bf16")
    with pytest.raises(InputError, match="no master weights"):
        change(replace(wide, precision="fp32"), master="none")


def test_weights_that_are_never_resharded_are_gathered_once_and_stay() -> None:
    q = replace(build("fsdp2"), dp_overlap=False)
    plan, parameters = build_strategy(dp=16, zero_stage=3), q.workload.parameters
    never, always = change(q, reshard="never"), change(q, reshard="always")
    end, layer = 8192 * 512, (parameters - 2 * 8192 * 512 - 512) / 8

    def compute_weights(scenario: Scenario) -> list[float]:
        """By moment."""
        memory = compute_stage_memory(scenario, plan, build_plan_tables(scenario, plan))
        return memory.moment_bytes["weights"][0, :, 0].tolist()

    passing = [2 * layer, 4 * layer, 2 * (layer + end), 0.0, 0.0]
    assert compute_weights(q) == pytest.approx([2 * end, *passing], rel=1e-3)
    assert compute_weights(always) == pytest.approx([0.0, *passing], rel=1e-3)
    whole = 2 * parameters
    assert compute_weights(never) == pytest.approx([whole, whole, whole - 2 * end, *passing[2:]], rel=1e-3)
    own_s, once_s, scatter_s = (
        float(compute_step_costs(scenario, plan).terms["data_parallel"][0])
        for scenario in (
            # gathers that are long beside their start
            *(replace(one, trainer=replace(one.trainer, gather_bytes=1e4)) for one in (q, never)),
            replace(q, trainer=replace(q.trainer, gather_bytes=1e-9)),
        )
    )
    assert own_s - once_s == pytest.approx((own_s - scatter_s) / 2, rel=0.05)
    assert compute_step_costs(always, plan).step_time_s == compute_step_costs(q, plan).step_time_s
    shared = build_strategy(dp=16, zero_stage=2)
    assert compute_step_costs(never, shared).step_time_s == compute_step_costs(q, shared).step_time_s


@pytest.mark.parametrize("vpp", [1, 2])
def test_sends_overlap_as_set(vpp: int) -> None:
    q, plan = build("megatron"), build_strategy(pp=4, dp=4, vpp=vpp)
    costs = {name: compute_step_costs(change(q, pp_overlap=name), plan) for name in ("interleaved", "yes", "no")}
    exposed = {name: float(cost.terms["pipeline_send"][0]) for name, cost in costs.items()}
    total = exposed["no"]
    for name, cost in costs.items():
        assert exposed[name] + float(cost.overlapped["pipeline_send"][0]) == pytest.approx(total), name
    if vpp == 1:
        # 8 micro-batches, and 3 sends to fill and drain
        assert exposed["interleaved"] == total
        assert exposed["yes"] == pytest.approx(total * (1 - q.calibration.overlap * 8 / 11))
    else:
        assert exposed["yes"] == exposed["interleaved"] < total


def build_experts(framework: TrainerName) -> Scenario:
    return build(framework, moe=MoeSpec(experts=16, topk=4, expert_ffn_size=512))


def test_the_all_to_all_overlaps_as_set() -> None:
    plan = build_strategy(dp=16, ep=16)
    for framework in ("megatron", "megatron-classic"):
        q = build_experts(framework)
        assert q.ep_overlap == (framework == "megatron")
        beside, alone = (compute_step_costs(change(q, ep_overlap=name), plan) for name in ("yes", "no"))
        assert alone.overlapped["expert_parallel"][0] == 0 < beside.overlapped["expert_parallel"][0]
        assert beside.terms["expert_parallel"][0] < alone.terms["expert_parallel"][0]
        # but for contention, what is exposed and what is overlapped is all of it
        contention = 1 - q.calibration.contention
        total = beside.terms["expert_parallel"][0] + contention * beside.overlapped["expert_parallel"][0]
        assert total == pytest.approx(alone.terms["expert_parallel"][0])


def test_nccl_sends_a_copy_for_each_expert() -> None:
    q, plan = change(build_experts("megatron-classic"), ep_overlap="no"), build_strategy(dp=16, ep=16)
    once, copies = (
        float(compute_step_costs(change(q, ep_exchange=name), plan).terms["expert_parallel"][0])
        for name in ("deepep", "nccl")
    )
    # 4 nodes of 4: a token goes to 3 (1 - (3/4)^4) other nodes, its 4 copies to 4 * 12/16
    assert once < copies <= 6 * once
    one = change(build_experts("megatron-classic"), ep_exchange="nccl")
    assert compute_step_costs(one, build_strategy(dp=16)).terms["expert_parallel"][0] == 0


def test_the_fullest_rank_sets_the_time_of_experts() -> None:
    q, plan = change(build_experts("megatron-classic"), ep_overlap="no"), build_strategy(dp=16, ep=16)
    even, twice = change(q, router="balanced"), change(q, router="2")
    assert q == even
    assert compute_step_costs(change(q, router="1"), plan).terms == compute_step_costs(q, plan).terms
    terms, of_twice = compute_step_costs(q, plan).terms, compute_step_costs(twice, plan).terms
    # latency apart, twice the bytes
    assert terms["expert_parallel"][0] < of_twice["expert_parallel"][0] <= 2 * terms["expert_parallel"][0]
    routed = [op for op in q.workload.layer_types[-1].operators if isinstance(op, ExpertLinear)]
    shards = build_layer_shard(even, plan), build_layer_shard(twice, plan)
    for op in routed:
        own, doubled = (get_operator_cost(op).compute_saved_bytes(q, op, shard)[0] for shard in shards)
        assert doubled == 2 * own > 0
        own_s, doubled_s = (compute_operator_times(q, op, shard).total_s[0] for shard in shards)
        assert own_s < doubled_s <= 2 * own_s
    graph = replace(q, launch_mode="graph")
    steps = [change(graph, router=name) for name in ("balanced", "real", "1.5", "4")]
    assert all(np.diff([compute(one, plan) for one in steps]) > 0)
    assert all(np.diff([held(one, plan, "activations") for one in steps]) > 0)


def test_a_rank_with_all_experts_has_no_fuller_neighbour() -> None:
    q = build_experts("megatron-classic")
    alone, dense = build_strategy(dp=16), build("megatron")
    assert compute_step_costs(change(q, router="3"), alone).terms == compute_step_costs(q, alone).terms
    assert compute(change(dense, router="3"), build_strategy(dp=16)) == compute(dense, build_strategy(dp=16))


def build_packed(packing: str) -> Scenario:
    workload = build_workload(read_model_preset("llama-3-8b"), seq_length=16384)
    return change(build_scenario(workload, read_cluster("dgx-h100", nodes=2), global_batch=16), packing=packing)


def compute_attention_s(q: Scenario) -> float:
    """Seconds of one attention core, both passes, without launches."""
    op = next(op for op in q.workload.layer_types[0].operators if isinstance(op, AttentionCore))
    times = compute_operator_times(q, op, build_layer_shard(q, build_strategy(dp=16)))
    return float(times.total_s[0]) - 3 * q.calibration.kernel_launch_s


def test_documents_attend_to_themselves() -> None:
    whole, plan = build_packed("no"), build_strategy(dp=16)
    for same in ("yes", "unpadded", "16384", "20000"):
        q = build_packed(same)
        assert compute_step_costs(q, plan).terms == compute_step_costs(whole, plan).terms
        assert compute_required_flops(q) == compute_required_flops(whole)
    lengths = ("512", "2k", "8192", "16380", "16384")
    packed = [build_packed(name) for name in lengths]
    assert [q.packing for q in packed] == ["512", "2048", "8192", "16380", "16384"]
    seconds = [compute_attention_s(q) for q in packed]
    assert seconds == sorted(seconds)
    assert seconds[-1] == compute_attention_s(whole)
    # whole blocks of 128 keys
    assert seconds[1] / seconds[-1] == pytest.approx((2048 + 128) / 16384)
    for convention in ("full", "causal"):
        flops = compute_required_flops(whole, convention)
        attention = compute_attention_flops(whole.workload, 16, convention)
        assert compute_required_flops(packed[1], convention) == pytest.approx(flops - 7 / 8 * attention)
    # what is saved and sent stays
    assert compute_peak_memory_bytes(packed[0], plan) == compute_peak_memory_bytes(whole, plan)


def test_packed_documents_need_a_kernel_that_skips_the_others() -> None:
    whole = build_packed("no")
    with pytest.raises(InputError, match="pairs of all documents"):
        change(replace(whole, attention_kernel="unfused"), packing="2048")
    images = build_scenario(build_workload(read_model_preset("resnet-50")), lab(), global_batch=32)
    with pytest.raises(InputError, match="no documents"):
        change(images, packing="2048")
    one = Space(16, 16, {"tp": (1,), "pp": (1,), "cp": (1,)})
    for name, runs in (("torchtitan", True), ("megatron-lm", False)):
        q = replace(whole, programs=(name,), trainer=TRAINERS_BY_NAME["fsdp2" if runs else "megatron"])
        stats = search_plans(change(q, packing="2048"), one).stats
        assert (stats.candidates > stats.rejected_by["trainer"]) == runs
        assert search_plans(change(q, packing="yes"), one).stats.candidates > 0


def test_gpipe_waits_as_1f1b_and_keeps_every_micro_batch() -> None:
    q = build("megatron", vocab_size=64)
    for micro_batch in (1, 2):
        plan, micro_batches = build_strategy(pp=4, dp=4, micro_batch=micro_batch), 8 // micro_batch
        gpipe = change(q, schedule="gpipe")
        assert compute_step_costs(gpipe, plan).terms == compute_step_costs(q, plan).terms
        # 1F1B has 4 in flight on the first stage
        assert held(gpipe, plan, "activations") == pytest.approx(
            held(q, plan, "activations") * micro_batches / min(micro_batches, 4)
        )
        slots = simulate_pipeline(gpipe, plan)
        last_forward = max(slot.start_s for slot in slots if slot.stage == 3 and slot.pass_type == "forward")
        assert last_forward < min(slot.start_s for slot in slots if slot.pass_type == "backward")
    single = build_strategy(dp=16)
    held_bytes = [held(scenario, single, "activations") for scenario in (change(q, schedule="gpipe"), q)]
    assert held_bytes[0] == held_bytes[1], "without a pipeline there is no schedule"


def test_gpipe_is_not_interleaved() -> None:
    stats = search_plans(change(build("megatron"), schedule="gpipe"), Space(16, 32, {"vpp": (1, 2)})).stats
    assert stats.rejected_by["zero-bubble-has-one-chunk"] > 0


def test_attention_in_8_bits_multiplies_at_their_peak() -> None:
    cluster = read_cluster("dgx-h100", nodes=2)
    workload = build_workload(read_model_preset("llama-3-8b"), seq_length=16384)
    q, plan = build_scenario(workload, cluster, global_batch=16), build_strategy(dp=16)
    narrow = change(q, attention_precision="fp8")
    op = next(op for op in workload.layer_types[0].operators if isinstance(op, AttentionCore))
    shard = build_layer_shard(q, plan)
    own, fast = (compute_operator_times(scenario, op, shard) for scenario in (q, narrow))
    # twice the rate, with the exponentials as they were and casts beside them; FlashAttention-3 (arXiv 2407.08608)
    # publishes 740 and 1,200 TFLOP/s of the forward pass
    assert own.forward_s / fast.forward_s == pytest.approx(1200 / 740, rel=0.15)
    assert own.forward_s / fast.forward_s < own.backward_s / fast.backward_s < 2
    with pytest.raises(InputError, match="no 8-bit kernel"):
        change(replace(q, attention_kernel="unfused"), attention_precision="fp8")
    with pytest.raises(InputError):
        change(
            build_scenario(workload, read_cluster("dgx-a100", nodes=2), global_batch=16), attention_precision="fp8"
        )
