"""Models in exported files: every field against the config.json that the model is read from, family by family.

The configurations are those of tests/fixtures/configs, a real one of each family; their keys are read here anew, by
their meaning in Hugging Face's library, and compared with the text that each trainer gets.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from planner.export.run import PlannedRun
from planner.export.trainer import UserExtras
from planner.export.trainers import TRAINERS
from planner.trainers.names import ExportName
from planner.workload.huggingface.read_config import parse_huggingface_config
from tests.export.plans import build_run
from tests.export.test_unsupported import change_plan

CONFIGS = Path(__file__).parents[1] / "fixtures" / "configs"
FAMILIES = (
    *("llama-3-8b", "llama-3.1-405b", "mistral-7b-v0.1", "mixtral-8x7b-v0.1", "phi-3-mini-4k", "qwen2-7b"),
    *("qwen2-57b-a14b", "qwen3-8b", "qwen3-30b-a3b", "deepseek-v3", "gpt-oss-20b", "gpt2", "gpt-neox-20b"),
)
PROGRAMS: tuple[ExportName, ...] = ("megatron-lm", "megatron-bridge", "torchtitan", "maxtext")
SEQ_LENGTHS = {"megatron-lm": 2048, "megatron-bridge": 2048, "torchtitan": 1024, "maxtext": 1024}
"""Tokens of a sequence: torchtitan and MaxText run models with a window where it is that of the whole sequence."""
Fields = dict[str, Any]

# a part of the model that the trainer has no field or no layer for, by its name
REFUSED = {
    ("megatron-lm", "gpt-oss-20b"): "model.rope_scaling",
    ("megatron-lm", "gpt-neox-20b"): "model.parallel_residual",
    ("megatron-bridge", "gpt-neox-20b"): "model.parallel_residual",
    ("torchtitan", "gpt2"): "model.learned_positions",
    ("torchtitan", "gpt-neox-20b"): "model.gated_mlp",
    ("maxtext", "qwen2-57b-a14b"): "model.moe.shared_gate",
    ("maxtext", "gpt-neox-20b"): "model.parallel_residual",
}


def read_config(name: str) -> str:
    """A real config.json."""
    return (CONFIGS / name / "config.json").read_text()


def build_model_run(name: str, program: ExportName) -> PlannedRun:
    """A plan without splits of the model's parts, for the model of a configuration."""
    text = read_config(name)
    base = build_run({"torchtitan": "fsdp", "maxtext": "tpu"}.get(program, "graph"))
    model = parse_huggingface_config(text, f"{name}/config.json", name)
    changes: Fields = {"strategy.tp": 1, "strategy.sequence_parallel": False, "launch": "fused"}
    run = change_plan(base, changes)
    length = min(SEQ_LENGTHS.get(program, 2048), model.learned_positions or 2048)
    return replace(run, model=model, layers=model.layers, chunk_layers=(model.layers,), seq_length=length)


def read_config_fields(text: str, seq_length: int) -> Fields:
    """The model of a config.json in words of this test; keys that are left out have the library's defaults."""
    raw: Fields = json.loads(text)
    family = raw["model_type"]
    is_gpt2, is_neox, is_oss = family == "gpt2", family == "gpt_neox", family == "gpt_oss"
    has_experts = family in ("mixtral", "qwen2_moe", "qwen3_moe", "deepseek_v3", "gpt_oss")
    heads = raw.get("num_attention_heads", raw.get("n_head"))
    hidden = raw.get("hidden_size", raw.get("n_embd"))
    fields: Fields = {
        "layers": raw.get("num_hidden_layers", raw.get("n_layer")),
        "hidden": hidden,
        "heads": heads,
        "vocabulary": raw["vocab_size"],
        "tied": raw.get("tie_word_embeddings", is_gpt2),
        "norm": "layernorm" if is_gpt2 or is_neox else "rmsnorm",
        "epsilon": raw.get("rms_norm_eps", raw.get("layer_norm_epsilon", raw.get("layer_norm_eps"))),
        "activation": "quick-gelu" if is_oss else "gelu-tanh" if is_gpt2 or is_neox else raw["hidden_act"],
        "gated": not (is_gpt2 or is_neox),
        "biases": "all" if is_gpt2 or is_neox or is_oss else "qkv" if family in ("qwen2", "qwen2_moe") else "none",
        "qk_norm": family in ("qwen3", "qwen3_moe"),
        "sinks": is_oss,
        "rope_base": None if is_gpt2 else float(raw.get("rope_theta", raw.get("rotary_emb_base", 10_000))),
        "rope_fraction": None if is_gpt2 else raw.get("rotary_pct", 1.0),
        "rope_scaling": normalize_scaling(raw.get("rope_scaling")),
        "window": raw.get("sliding_window") if family in ("mistral", "phi3", "gpt_oss") else None,
    }
    if fields["window"] is not None and fields["window"] >= seq_length:
        fields["window"] = None
    if family != "deepseek_v3":
        fields["kv_heads"] = raw.get("num_key_value_heads", heads)
        fields["head_dim"] = raw.get("head_dim", hidden // heads)
    if not has_experts or family == "deepseek_v3":
        fields["ffn"] = raw.get("intermediate_size", 4 * hidden)
    if has_experts:
        fields |= {
            "experts": raw.get("num_local_experts", raw.get("num_experts", raw.get("n_routed_experts"))),
            "topk": raw.get("num_experts_per_tok"),
            "expert_ffn": raw.get("moe_intermediate_size", raw["intermediate_size"]),
            "score": raw.get("scoring_func", "softmax"),
            "normalized": raw.get("norm_topk_prob", True),
            "groups": (raw["n_group"], raw["topk_group"]) if "n_group" in raw else None,
            "scaling": raw.get("routed_scaling_factor", 1.0),
            "choice_bias": raw.get("topk_method") == "noaux_tc",
            "aux_loss": raw.get("router_aux_loss_coef", 0.0),
            "shared": raw.get(
                "shared_expert_intermediate_size",
                raw.get("n_shared_experts", 0) * raw.get("moe_intermediate_size", 0),
            ),
            "shared_gate": family == "qwen2_moe",
            "dense_layers": raw.get("first_k_dense_replace", 0),
        }
    if family == "deepseek_v3":
        names = ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
        fields |= {"mla": tuple(raw[key] for key in names), "mtp": raw["num_nextn_predict_layers"]}
    return fields


def normalize_scaling(raw: Fields | None) -> tuple[object, ...] | None:
    """Type and numbers of a scaling of rotary positions."""
    if raw is None:
        return None
    kind, original = raw.get("rope_type", raw.get("type")), raw["original_max_position_embeddings"]
    if kind == "llama3":
        return (kind, raw["factor"], raw["low_freq_factor"], raw["high_freq_factor"], original)
    magnitudes = raw.get("mscale"), raw.get("mscale_all_dim")
    return (kind, raw["factor"], original, raw["beta_fast"], raw["beta_slow"], *magnitudes, raw.get("truncate", True))


def read_options(text: str) -> Fields:
    """The arguments of `pretrain_gpt.py` in train.sh by the names of megatron-core's fields."""
    words = shlex.split(text.split("model=(")[1].split("\n)")[0], comments=True)
    found: Fields = {}
    for i, word in enumerate(words):
        if word.startswith("--"):
            value = words[i + 1] if i + 1 < len(words) and not words[i + 1].startswith("--") else True
            found[word.removeprefix("--").replace("-", "_")] = parse_word(value)
    gated = next((name for name in ("swiglu", "quick_geglu") if name in found), None)
    plain = "squared-relu" if "squared_relu" in found else "gelu" if "no_bias_gelu_fusion" in found else "gelu-tanh"
    return found | {
        "layernorm_epsilon": found["norm_epsilon"],
        "num_moe_experts": found.get("num_experts"),
        "gated_linear_unit": gated is not None,
        "activation": {"swiglu": "silu", "quick_geglu": "quick-gelu", None: plain}[gated],
        "add_bias_linear": "disable_bias_linear" not in found,
        "share_embeddings_and_output_weights": "untie_embeddings_and_output_weights" not in found,
        "rope_scaling": found.get("use_rope_scaling", False),
        "rope_scaling_factor": 8.0,
        "vocab_size": pad_vocabulary(found["make_vocab_size_divisible_by"], text),
        "window_attn_skip_freq": found.get("window_attn_skip_freq"),
        "moe_layer_freq": found.get("moe_layer_freq"),
    }


def pad_vocabulary(multiple: int, text: str) -> int:
    """Rows of the embedding: the null tokenizer's words and its end of a document, padded on one rank."""
    words = int(re.findall(r"--vocab-size (\d+)", text)[0]) + 1
    return -(-words // multiple) * multiple


def parse_word(word: object) -> object:
    if not isinstance(word, str):
        return word
    try:
        return eval(word, {}) if re.fullmatch(r"[\d\[\]()+*,.e-]+", word) else word
    except SyntaxError:
        return word


def read_calls(text: str) -> dict[str, Fields]:
    """The keyword arguments of every call in a script, by the name that is called; names stand for constants."""
    tree = ast.parse(text)
    constants: Fields = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets = node.targets[0]
            names = targets.elts if isinstance(targets, ast.Tuple) else [targets]
            values = (
                node.value.elts
                if isinstance(targets, ast.Tuple) and isinstance(node.value, ast.Tuple)
                else [node.value]
            )
            for name, value in zip(names, values, strict=True):
                if isinstance(name, ast.Name) and isinstance(value, ast.Constant):
                    constants[name.id] = value.value
    calls: dict[str, Fields] = {}
    for call in ast.walk(tree):
        if isinstance(call, ast.Call):
            of = ast.unparse(call.func)
            arguments = {key.arg: read_value(key.value, constants) for key in call.keywords if key.arg}
            calls[of] = calls.get(of, {}) | arguments
    return calls


def read_value(node: ast.expr, constants: Fields) -> object:
    if isinstance(node, ast.Name):
        return constants.get(node.id, node.id)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def read_bridge(text: str) -> Fields:
    """The arguments of Megatron-Bridge's provider."""
    calls = read_calls(text)
    provider = next(name for name in calls if name.endswith("Provider"))
    found = calls[provider]
    functions = {
        ("F.silu", True): "silu",
        ("quick_gelu", True): "quick-gelu",
        ("F.gelu", True): "gelu-tanh",
        ("fast_gelu", False): "gelu-tanh",
        ("F.gelu", False): "gelu",
    }
    return found | {
        "activation": functions[found["activation_func"], found["bias_activation_fusion"]],
        "gated_linear_unit": found.get("gated_linear_unit", False),
        "add_bias_linear": found.get("add_bias_linear", True),
        "rope_scaling": found.get("rope_scaling", False),
    }


def read_megatron(found: Fields) -> Fields:
    """megatron-core's fields in the words of this test."""
    is_latent = bool(found.get("multi_latent_attention"))
    is_learned = found["position_embedding_type"] == "learned_absolute"
    window = found.get("window_size")
    fields: Fields = {
        "layers": found["num_layers"],
        "hidden": found["hidden_size"],
        "heads": found["num_attention_heads"],
        "vocabulary": found["vocab_size"],
        "tied": found["share_embeddings_and_output_weights"],
        "norm": found["normalization"].lower(),
        "epsilon": found["layernorm_epsilon"],
        "activation": found["activation"],
        "gated": found["gated_linear_unit"],
        "biases": "all" if found["add_bias_linear"] else "qkv" if found.get("add_qkv_bias") else "none",
        # norms of latent attention are those of its low ranks
        "qk_norm": bool(found.get("qk_layernorm")) and not is_latent,
        "sinks": found.get("softmax_type", "vanilla") == "learnable",
        "rope_base": None if is_learned else float(found["rotary_base"]),
        "rope_fraction": None if is_learned else found.get("rotary_percent", 1.0),
        "rope_scaling": read_megatron_scaling(found),
        "window": None if window is None or window[0] + 1 >= found["seq_length"] else window[0] + 1,
    }
    if not is_latent:
        fields["kv_heads"] = found.get("num_query_groups") or found["num_attention_heads"]
        fields["head_dim"] = found["kv_channels"]
    experts = found.get("num_moe_experts")
    if not experts or is_latent:
        fields["ffn"] = found["ffn_hidden_size"]
    if experts:
        layer_flags = found.get("moe_layer_freq") or [1]
        fields |= {
            "experts": experts,
            "topk": found["moe_router_topk"],
            "expert_ffn": found["moe_ffn_hidden_size"],
            "score": found["moe_router_score_function"],
            "normalized": not found.get("moe_router_pre_softmax", False),
            "groups": (found["moe_router_num_groups"], found["moe_router_group_topk"])
            if "moe_router_num_groups" in found
            else None,
            "scaling": found.get("moe_router_topk_scaling_factor", 1.0),
            "choice_bias": found.get("moe_router_enable_expert_bias", False),
            "aux_loss": found.get("moe_aux_loss_coeff", 0.0),
            "shared": found.get("moe_shared_expert_intermediate_size", 0),
            "shared_gate": found.get("moe_shared_expert_gate", False),
            "dense_layers": layer_flags.index(1),
        }
        assert found["moe_router_load_balancing_type"] == ("aux_loss" if fields["aux_loss"] else "none")
    if is_latent:
        names = ("q_lora_rank", "kv_lora_rank", "qk_head_dim", "qk_pos_emb_head_dim", "v_head_dim")
        fields |= {"mla": tuple(found[key] for key in names), "mtp": found.get("mtp_num_layers", 0)}
    return fields


def read_megatron_scaling(found: Fields) -> tuple[object, ...] | None:
    """The scaling, with the numbers that are in the code: those of Llama 3.1, MLATransformerConfig's defaults."""
    if found.get("rope_scaling"):
        return ("llama3", found["rope_scaling_factor"], 1.0, 4.0, 8192)
    prefix = "yarn_" if found["position_embedding_type"] == "yarn" else ""
    if not prefix and found.get("rope_type") != "yarn":
        return None
    defaults = {"original_max_position_embeddings": 4096, "beta_fast": 32.0, "beta_slow": 1.0}
    names = ("rotary_scaling_factor", *defaults, "mscale", "mscale_all_dim")
    numbers = [found.get(f"{prefix}{name}", defaults.get(name)) for name in names]
    return ("yarn", *numbers, found.get("yarn_correction_range_round_to_int", True))


def read_torchtitan(text: str) -> Fields:
    """The module: its constants and calls; a preset of torchtitan has only its name there."""
    calls = read_calls(text)
    # a model with a gate of shared experts is a class of the module's own, whose call is the one with sizes
    model = next(call for name, call in calls.items() if name.endswith("Model.Config") and "dim" in call)
    attention = calls["make_gqa_config"]
    rope = calls[next(name for name in calls if "RoPE" in name)]
    scaling = None
    if rope.get("scaling") == "llama":
        names = ("scaling_factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
        scaling = ("llama3", *(rope[name] for name in names))
    constants = parse_constants(text)
    fields: Fields = {
        "layers": constants["LAYERS"],
        "hidden": model["dim"],
        "heads": attention["n_heads"],
        "vocabulary": model["vocab_size"],
        "tied": model.get("enable_weight_tying", False),
        "norm": "rmsnorm",
        "epsilon": constants["EPSILON"],
        "activation": "silu",
        "gated": True,
        "biases": "qkv" if "wkv.bias = True" in text else "none",
        "qk_norm": "qk_norm" in attention,
        "sinks": False,
        "rope_base": rope["theta"],
        "rope_fraction": 1.0,
        "rope_scaling": scaling,
        "window": None,
        "kv_heads": attention["n_kv_heads"],
        "head_dim": attention["head_dim"],
    }
    if "make_moe_config" not in calls:
        return fields | {"ffn": constants["FFN"]}
    router, shared = calls["make_router_config"], calls.get("make_ffn_config", {})
    return fields | {
        "experts": router["num_experts"],
        "topk": router["top_k"],
        "expert_ffn": calls["make_routed_experts_config"]["hidden_dim"],
        "score": router["score_func"],
        "normalized": router["route_norm"],
        "groups": (router["num_expert_groups"], router["num_limited_groups"])
        if router["num_expert_groups"]
        else None,
        "scaling": router["route_scale"],
        "choice_bias": False,
        "shared": int(shared["hidden_dim"]) if "shared_experts" in calls["make_moe_config"] else 0,
        "shared_gate": "SigmoidGatedFeedForward.Config" in calls,
        "dense_layers": 0,
    }


def parse_constants(text: str) -> Fields:
    """Constants of a module, those of tuples too."""
    found: Fields = {}
    for line in re.findall(r"^[A-Z_]+(?:, [A-Z_]+)* = [^{\n]+$", text, re.M):
        names, values = line.split(" = ")
        found |= dict(zip(names.split(", "), map(ast.literal_eval, values.split(", ")), strict=True))
    return found


def read_maxtext(text: str) -> Fields:
    """Keys over base.yml."""
    found: Fields = yaml.safe_load(text)
    is_latent = found.get("attention_type") == "mla"
    kinds = {"default": None, "llama3.1": ("llama3", 8.0, 1.0, 4.0, 8192)}
    if found.get("rope_type") == "yarn":
        numbers = ("rope_factor", "original_max_position_embeddings", "beta_fast", "beta_slow")
        # left out, the magnitude follows from the factor
        assert is_latent or found["rope_attention_scaling"]
        magnitudes = (found.get("mscale"),) * 2
        kinds["yarn"] = ("yarn", *(found[name] for name in numbers), *magnitudes, found["rope_truncate"])  # type: ignore[assignment]
    block, is_learned = found["decoder_block"], "trainable_position_size" in found
    activations = {"gpt_oss": "quick-gelu", "gpt3": "gelu-tanh"}
    biases = {"qwen2": "qkv", "gpt_oss": "all", "gpt3": "all"}
    assert found.get("mlp_activations_limit") == (7.0 if block == "gpt_oss" else None)
    fields: Fields = {
        "layers": found["base_num_decoder_layers"],
        "hidden": found["base_emb_dim"],
        "heads": found["base_num_query_heads"],
        "vocabulary": found["vocab_size"],
        "tied": found["logits_via_embedding"],
        # GPT-3's block has norms and matrices with biases
        "norm": "layernorm" if block == "gpt3" else "rmsnorm",
        "epsilon": found["normalization_layer_epsilon"],
        "activation": activations.get(block, found["mlp_activations"][0]),
        "gated": found["mlp_activations"][1:] == ["linear"],
        "biases": biases[block] if found.get("attention_bias") else "none",
        "qk_norm": found.get("use_qk_norm", False),
        "sinks": found.get("attention_sink", False),
        "rope_base": None if is_learned else float(found["rope_max_timescale"]),
        "rope_fraction": None if is_learned else 1.0,
        "rope_scaling": None if is_learned else kinds[found["rope_type"]],
        "window": found.get("sliding_window_size"),
    }
    if not is_latent:
        fields |= {"kv_heads": found["base_num_kv_heads"], "head_dim": found["head_dim"]}
    if "num_experts" not in found or is_latent:
        fields["ffn"] = found["base_mlp_dim"]
    if "num_experts" in found:
        fields |= {
            "experts": found["num_experts"],
            "topk": found["num_experts_per_tok"],
            "expert_ffn": found["base_moe_mlp_dim"],
            "score": found.get("routed_score_func", "softmax"),
            # with sigmoid the sum is always 1
            "normalized": found.get("norm_topk_prob", found.get("routed_score_func") == "sigmoid"),
            "groups": (found["n_routing_groups"], found["topk_routing_group"])
            if "n_routing_groups" in found
            else None,
            "scaling": found.get("routed_scaling_factor", 1.0),
            "choice_bias": found.get("routed_bias", False) and block == "deepseek",
            "aux_loss": found["load_balance_loss_weight"],
            "shared": found.get("shared_experts", 0) * found["base_moe_mlp_dim"],
            "shared_gate": False,
            "dense_layers": found.get("first_num_dense_layers", 0),
        }
    if is_latent:
        names = ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
        fields |= {"mla": tuple(found[key] for key in names), "mtp": found.get("mtp_num_layers", 0)}
    return fields


READERS = {
    "megatron-lm": ("train.sh", lambda text: read_megatron(read_options(text))),
    "megatron-bridge": ("planned_bridge.py", lambda text: read_megatron(read_bridge(text))),
    "torchtitan": ("planned_torchtitan.py", read_torchtitan),
    "maxtext": ("maxtext.yml", read_maxtext),
}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_field_of_the_model_is_that_of_its_configuration(program: ExportName, name: str) -> None:
    run, trainer = build_model_run(name, program), TRAINERS[program]
    unsupported = [one.setting for one in trainer.find_unsupported(run)]
    if (program, name) in REFUSED:
        assert REFUSED[program, name] in unsupported
        return
    assert unsupported == []
    expected = read_config_fields(read_config(name), run.seq_length)
    text = trainer.build_files(run, UserExtras())[READERS[program][0]]
    if program == "torchtitan" and "a preset of torchtitan" in text:
        # its own fields are compared by tests/export/real/test_models.py
        assert f"part.eps = {expected['epsilon']}" in text
        assert f"num_mtp_layers={expected['mtp']}" in text if expected.get("mtp") else "num_mtp_layers" not in text
        return
    found = READERS[program][1](text)
    if program == "torchtitan":
        # it has no such loss, which a note says
        coefficient = expected.pop("aux_loss", 0)
        notes = " ".join(trainer.build_notes(run))
        assert ("no loss that balances experts" in notes) == bool(coefficient)
    assert found == expected


def test_maxtext_gets_the_sizes_that_its_named_configuration_has_otherwise_as_words() -> None:
    run = build_model_run("deepseek-v3", "maxtext")
    assert "model_name: deepseek3-671b" in TRAINERS["maxtext"].build_files(run, UserExtras())["maxtext.yml"]
    assert "=1024" not in TRAINERS["maxtext"].build_files(run, UserExtras())["train.sh"]
    changes = {"model.hidden_size": 1024, "model.tied_embeddings": True, "model.activation": "relu"}
    changed = TRAINERS["maxtext"].build_files(change_plan(run, changes), UserExtras())["train.sh"]
    words = shlex.split(changed.partition('"$CHECKPOINTS"')[2])
    assert {word for word in words if "=" in word} == {
        "base_emb_dim=1024",
        "mlp_activations=[relu,linear]",
        "logits_via_embedding=true",
    }


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("program", ["deepspeed", "accelerate", "fsdp2"])
def test_a_script_gets_the_configuration_of_the_model(program: ExportName, name: str) -> None:
    run = build_model_run(name, program)
    text = TRAINERS[program].build_files(run, UserExtras())["config.json"]
    for length in (1024, 2048):
        assert read_config_fields(text, length) == read_config_fields(read_config(name), length)


def test_a_model_of_no_family_is_noted() -> None:
    run = change_plan(build_run("fsdp"), {"model.relative_positions": "alibi"})
    assert "config.json" not in TRAINERS["fsdp2"].build_files(run, UserExtras())
    assert "your script has to build it" in " ".join(TRAINERS["fsdp2"].build_notes(run))
