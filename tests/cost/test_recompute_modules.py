"""What modules and policies of selective recomputation keep, repeat and place on the host."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

import planner
from planner.cluster.model.cluster import Host
from planner.cost.memory.moments import MEMORY_MOMENTS
from planner.cost.memory.peak import compute_stage_memory
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import Scenario
from planner.cost.step import compute_step_costs
from planner.cost.strategies import Strategies, build_strategy
from planner.errors import InputError
from planner.search.settings import enumerate_setting_scenarios
from planner.trainers.megatron.modules import list_recompute_modules
from planner.trainers.recompute import OFFLOAD_MODULES, RECOMPUTE_MODULES, REMAT_POLICIES, parse_recompute_modules
from planner.trainers.registry import find_trainer
from planner.workload.spec import MlaSpec, MoeSpec
from tests.cli.run import call
from tests.examples import DEFAULTS, LAB, lab_scenario, tiny
from tests.sample import mark_full

HOST = Host(memory_bytes=2e12, memory_bandwidth_bytes_per_s=4e11, link_bytes_per_s=3e10)
MLA = MlaSpec(q_lora_rank=128, kv_lora_rank=64, qk_nope_head_dim=64, qk_rope_head_dim=32, v_head_dim=64)
MOE = MoeSpec(experts=8, topk=2, expert_ffn_size=256, shared_ffn_size=512, first_dense_layers=1)
DENSE, EXPERTS = lab_scenario(tiny(kv_heads=2)), lab_scenario(tiny(mla=MLA, moe=MOE))
LAYERS, TOKENS, HIDDEN, FFN, MICRO_BATCHES = 8, 1024, 512, 2048, 2


def change(q: Scenario, **values: str) -> Scenario:
    (changed,) = enumerate_setting_scenarios(q, {name: (value,) for name, value in values.items()})
    return changed


def plan(recompute: str = "selective", **degrees: int) -> Strategies:
    return build_strategy(
        **{"dp": 16, **degrees},
        recompute=("none", "selective", "full").index(recompute),
    )


def held(q: Scenario, s: Strategies, kind: str = "activations") -> float:
    """Bytes of the worst stage while its last layer's backward pass is at work."""
    memory = compute_stage_memory(q, s, build_plan_tables(q, s))
    return float(memory.moment_bytes[kind][0, MEMORY_MOMENTS.index("last_layer_backward")].max())


def term(q: Scenario, s: Strategies, name: str) -> float:
    return float(compute_step_costs(q, s).terms[name][0])


def step(q: Scenario, s: Strategies) -> float:
    return float(compute_step_costs(q, s).step_time_s[0])


@pytest.mark.parametrize("attention", ["flash", "unfused"])
@pytest.mark.parametrize("q", [DENSE, EXPERTS], ids=["dense", "experts"])
def test_more_modules_save_memory_and_cost_time(q: Scenario, attention: str) -> None:
    q = replace(q, attention_kernel=attention)  # type: ignore[arg-type]
    degrees = {"dp": 8, "tp": 2, "sequence_parallel": 1, "ep": 2, "etp": 1} if q is EXPERTS else {}
    none, selective, full = (plan(mode, **degrees) for mode in ("none", "selective", "full"))
    for shift in (0, 4):
        memory, time = held(q, none), step(q, none)
        for count in range(1, len(RECOMPUTE_MODULES) + 1):
            names = (RECOMPUTE_MODULES * 2)[shift : shift + count]
            chosen = change(q, recompute_modules="+".join(names))
            more_memory, more_time = held(chosen, selective), step(chosen, selective)
            assert more_memory <= memory * (1 + 1e-12), names
            assert more_time >= time * (1 - 1e-12), names
            memory, time = more_memory, more_time
    assert held(q, none) > memory >= held(q, full)
    assert step(q, none) < time < step(q, full)


def test_modules_drop_what_they_make_and_keep_what_they_read() -> None:
    def dropped(q: Scenario, modules: str, layers: int = LAYERS) -> float:
        chosen = change(q, recompute_modules=modules)
        # of all layers, less the one at work
        return (held(q, plan("none")) - held(chosen, plan())) / ((layers - 1) * TOKENS)

    # the input of mlp_up, both halves of its output, and the input of mlp_down; the norm's input stays
    assert dropped(DENSE, "mlp") == pytest.approx(2 * (HIDDEN + 2 * FFN + FFN))
    # row sums of fused attention in 32 bit
    assert dropped(DENSE, "core_attn") == pytest.approx(4 * 8)
    # norms are fused with the multiplies after them
    assert dropped(DENSE, "layernorm") == 0
    experts = 7
    assert dropped(EXPERTS, "moe_act", experts) == pytest.approx(2 * 2 * 256)
    assert dropped(EXPERTS, "shared_experts", experts) == pytest.approx(2 * 3 * 512)
    heads = 8 * (2 * (64 + 32) + 64)
    assert dropped(EXPERTS, "mla_up_proj") == pytest.approx(2 * (heads + 128 + 64 - 32))
    routed = 2 * (HIDDEN + 3 * 256)
    # without the norm the input of the layer's experts is kept
    assert dropped(EXPERTS, "moe", experts) == pytest.approx(2 * (routed + 3 * 512))
    both = dropped(EXPERTS, "moe+layernorm", experts)
    assert both == pytest.approx(2 * (routed + 3 * 512) + 2 * (HIDDEN + HIDDEN * LAYERS / experts), rel=0.02)


def test_modules_repeat_their_operators_with_their_communication() -> None:
    forward_s = term(EXPERTS, plan("full"), "recompute")
    own = term(EXPERTS, plan(), "recompute") - term(DENSE, plan("none"), "recompute")
    named = term(change(EXPERTS, recompute_modules="layernorm+moe_act+mla_up_proj"), plan(), "recompute")
    assert 0 < named == own < forward_s
    moe = change(EXPERTS, recompute_modules="moe")
    spread = plan(dp=8, ep=4, tp=2, sequence_parallel=1, etp=1)
    for name in ("expert_parallel", "tensor_parallel"):
        whole = replace(spread, recompute=spread.recompute + 1)
        assert term(EXPERTS, spread, name) < term(moe, spread, name) <= term(EXPERTS, whole, name) * (1 + 1e-12)
    assert term(change(EXPERTS, recompute_modules="moe_act"), spread, "expert_parallel") == pytest.approx(
        term(EXPERTS, spread, "expert_parallel")
    )


def test_attention_that_a_policy_keeps_is_one_tensor_whatever_the_multiply_after_it_saves() -> None:
    wide = change(DENSE, recompute_modules="save:context")
    peaks = {**wide.accelerator.peak_flops, "fp8": 2 * wide.accelerator.peak_flops["bf16"]}
    narrow = replace(wide, precision="fp8", accelerator=replace(wide.accelerator, peak_flops=peaks))
    assert held(narrow, plan("none")) < held(wide, plan("none"))
    assert held(narrow, plan()) <= held(wide, plan())


def test_policies_keep_what_they_name() -> None:
    def kept(policy: str) -> float:
        """Bytes of a token in one layer."""
        chosen = change(DENSE, recompute_modules=policy)
        return held(chosen, plan()) / TOKENS

    # queries and two heads of keys and values, and attention's output with its row sums
    qkv, context, both_halves = 2 * 64 * (8 + 2 * 2), 2 * HIDDEN + 4 * 8, 2 * 2 * FFN
    assert kept("minimal_with_context") - kept("minimal") == pytest.approx((LAYERS - 1) * context)
    assert kept("minimal") - kept("save_dot_except_mlp") == pytest.approx((LAYERS - 1) * both_halves)
    assert kept("save_dot_except_mlp") - kept("save_out_proj") == pytest.approx((LAYERS - 1) * qkv)
    assert kept("save_dot_except_mlp") == kept("save:query_proj,key_proj,value_proj,out_proj")
    # the last output of a layer is read by the next one, which has it as its input
    assert kept("save_dot_except_mlpwi") == kept("save_dot_except_mlp")
    assert kept("save:context") - kept("save:attention_out") == pytest.approx((LAYERS - 1) * 4 * 8)
    times = [
        term(change(DENSE, recompute_modules=policy), plan(), "recompute")
        for policy in ("minimal_with_context", "minimal", "save_dot_except_mlp", "save_qkv_proj")
    ]
    assert times == sorted(times)
    assert times[-1] < term(DENSE, plan("full"), "recompute")
    # both names of a trainer's own policy
    fsdp = replace(DENSE, trainer=replace(DENSE.trainer, selective_recompute="multiplies"))
    chosen = change(DENSE, recompute_modules="every-second-matmul")
    assert held(fsdp, plan()) == held(chosen, plan())
    assert step(fsdp, plan()) == step(chosen, plan())


@pytest.mark.parametrize("policy", mark_full(REMAT_POLICIES, every=3))
def test_a_policy_lies_between_none_and_full(policy: str) -> None:
    for q in (DENSE, EXPERTS):
        chosen = change(q, recompute_modules=policy)
        assert held(q, plan("full")) <= held(chosen, plan()) < held(q, plan("none"))
        assert step(q, plan("none")) < step(chosen, plan()) < step(q, plan("full"))


def test_modules_go_to_the_host() -> None:
    q = change(replace(EXPERTS, host=HOST, devices_per_host=4), offload="activations")

    def moved_bytes(q: Scenario, s: Strategies) -> float:
        """Of a token, in one direction."""
        costs = compute_step_costs(q, s)
        seconds = float(costs.terms["offload"][0] + costs.overlapped["offload"][0])
        return seconds * HOST.link_bytes_per_s / (2 * MICRO_BATCHES * TOKENS)

    none, experts = plan("none"), 7
    chosen = {name: change(q, offload_modules=name) for name in OFFLOAD_MODULES}
    moved = {name: moved_bytes(chosen[name], none) for name in OFFLOAD_MODULES}
    assert moved["attn_norm"] == pytest.approx(LAYERS * 2 * HIDDEN)
    assert moved["mlp_norm"] == pytest.approx(experts * 2 * HIDDEN)
    assert moved["expert_fc1"] == pytest.approx(experts * 2 * 2 * HIDDEN)
    assert moved["moe_act"] == pytest.approx(experts * 2 * 2 * 2 * 256)
    assert moved["attn_proj"] == pytest.approx(LAYERS * 2 * 8 * 64)
    assert moved["core_attn"] == pytest.approx(LAYERS * (2 * 8 * (2 * 96 + 64) + 4 * 8))
    together = change(q, offload_modules="+".join(OFFLOAD_MODULES))
    assert moved_bytes(together, none) == pytest.approx(sum(moved.values()))
    assert moved_bytes(together, none) < moved_bytes(q, none)
    for name, scenario in chosen.items():
        assert held(q, none) < held(together, none) < held(scenario, none) < held(EXPERTS, none), name
    # what is repeated is not there to be moved
    norm_repeated = change(together, recompute_modules="mla_up_proj+core_attn")
    assert moved_bytes(norm_repeated, plan()) == pytest.approx(
        # but the rotary part of the keys, which is repeated from its input
        moved_bytes(together, none) - LAYERS * (2 * 8 * (2 * 96 + 64) + 2 * (128 + 64 - 32) + 4 * 8)
    )
    # a policy says itself what goes there
    placed = change(q, recompute_modules="save:context+offload:decoder_layer_input,out_proj")
    assert moved_bytes(placed, plan()) == pytest.approx(LAYERS * 2 * 2 * HIDDEN)
    assert moved_bytes(placed, plan("full")) == pytest.approx(LAYERS * 2 * HIDDEN)


def test_option_file_and_python_are_alike(tmp_path: Path) -> None:
    text = LAB.format(**DEFAULTS) + '\n[node.host]\nmemory = "2TiB"\nbandwidth = "400GB/s"\nlink = "30GB/s"\n'
    cluster, file = tmp_path / "lab.toml", tmp_path / "space.toml"
    cluster.write_text(text)
    values = "offload:decoder_layer_input,out_proj+save:context"
    options = {"tp": 2, "dp": 8, "pp": 1, "recompute": "selective", "offload": "activations"}
    given = {**options, "recompute_modules": values, "offload_modules": "moe_act+attn_norm"}
    with pytest.warns(UserWarning, match="--recompute-modules: unsupported by megatron-lm"):
        document = json.loads(msgspec.json.encode(planner.plan("gpt-1.7b", str(cluster), 64, **given)))  # type: ignore[arg-type]
    settings = document["plans"][0]["settings"]
    assert settings["recompute_modules"] == "offload:decoder_layer_input,out_proj+save:context"
    assert settings["offload_modules"] == "attn_norm+moe_act"
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in given.items()))
    words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    for options_of_run in (["--space", str(file)], words):
        done = call("plan", "gpt-1.7b", "-c", str(cluster), "-b", "64", *options_of_run, "-f", "json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == document


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"recompute_modules": "mla_up_prj"}, "mla_up_proj"),
        ({"recompute_modules": "mlp+minimal"}, "modules joined by +"),
        ({"recompute_modules": "save:contxt"}, "did you mean context?"),
        ({"recompute_modules": "save:context+offload:context", "offload": "activations"}, "each tensor in one list"),
        ({"recompute_modules": "mlp", "recompute": "full"}, "--recompute selective"),
        ({"offload_modules": "moe_act"}, "--offload activations"),
        ({"recompute_modules": "qkv_proj_offloaded"}, "--offload activations"),
    ],
)
def test_an_impossible_value_is_refused(options: dict[str, str], named: str) -> None:
    with pytest.raises(InputError, match=named.replace("+", r"\+").replace("?", r"\?")):
        planner.plan("gpt-1.7b", "dgx-h100", 64, nodes=1, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("q", [DENSE, EXPERTS], ids=["dense", "experts"])
def test_megatron_repeats_by_itself_the_modules_that_its_files_name(q: Scenario) -> None:
    assert q.trainer.name == "megatron-classic"
    modules = list_recompute_modules(q.workload.spec, "flash", parse_recompute_modules("default"))
    named, selective = change(q, recompute_modules="+".join(modules)), plan("selective")
    assert (held(q, selective), step(q, selective)) == (held(named, selective), step(named, selective))
    assert held(q, plan("full")) < held(q, selective) < held(q, plan("none"))


def test_megatron_before_modules_repeats_attention_alone() -> None:
    old = replace(DENSE, trainer=find_trainer("megatron-classic", "megatron-lm@core_v0.10"))
    named = change(old, recompute_modules="core_attn")
    assert held(old, plan("selective")) == held(named, plan("selective")) > held(DENSE, plan("selective"))
