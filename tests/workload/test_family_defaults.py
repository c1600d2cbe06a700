"""What a config.json leaves out is what the family's configuration class in transformers takes.

The values are those that `AutoConfig.from_pretrained` of transformers 5.24.0 gives for the same files (classes in
models/FAMILY/configuration_FAMILY.py): width 4096, 64 heads, 40 layers, 1,024 words.
"""

import json

import pytest

from planner.errors import InputError
from planner.workload.huggingface.families import OWN_READERS
from planner.workload.huggingface.read_config import parse_huggingface_config
from planner.workload.spec import ModelSpec

SIZES = {
    "hidden_size": 4096, "intermediate_size": 8192, "num_attention_heads": 64, "num_hidden_layers": 40,
    "vocab_size": 1024,
}  # fmt: skip
KEYS_BY_FAMILY = {
    "gpt2": {"n_embd": 4096, "n_head": 64, "n_layer": 40, "vocab_size": 1024},
    "t5": {"d_model": 4096, "num_heads": 64, "num_layers": 40, "vocab_size": 1024, "d_ff": 8192, "d_kv": 64},
    "xlnet": {"d_model": 4096, "n_head": 64, "n_layer": 40, "vocab_size": 1024, "d_inner": 8192},
    "deepseek_v3": {
        **SIZES, "moe_intermediate_size": 2048, "n_routed_experts": 256, "num_experts_per_tok": 8,
        "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    },
    "gpt_oss": {**SIZES, "num_local_experts": 128, "num_experts_per_tok": 4},
    "qwen2_moe": {**SIZES, "num_experts": 60, "num_experts_per_tok": 4, "moe_intermediate_size": 1408},
    "qwen3_moe": {**SIZES, "num_local_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768},
}  # fmt: skip
"""Sizes that our reader requires, by family where they are not `SIZES`."""

#                kv heads, head, sequence, epsilon, tied embeddings, base of rotary positions (0: none), window
DEFAULTS = {
    "bert":        (64, 64,     512, 1e-12, True,          0.0,    0),
    "roberta":     (64, 64,     510, 1e-12, True,          0.0,    0),
    "xlnet":       (64, 64,     512, 1e-12, True,          0.0,    0),
    "t5":          (64, 64,     512, 1e-6,  True,          0.0,    0),
    "gpt2":        (64, 64,    1024, 1e-5,  True,          0.0,    0),
    "gpt_neox":    (64, 64,    2048, 1e-5,  False,    10_000.0,    0),
    "llama":       (64, 64,    2048, 1e-6,  False,    10_000.0,    0),
    "mistral":     ( 8, 64, 131_072, 1e-6,  False,    10_000.0, 4096),
    "mixtral":     ( 8, 64, 131_072, 1e-5,  False, 1_000_000.0,    0),
    "phi3":        (64, 64,    4096, 1e-5,  False,    10_000.0,    0),
    "qwen2":       (32, 64,  32_768, 1e-6,  False,    10_000.0,    0),
    "qwen2_moe":   (16, 64,  32_768, 1e-6,  False,    10_000.0,    0),
    "qwen3":       (32, 128, 32_768, 1e-6,  False,    10_000.0,    0),
    "qwen3_moe":   ( 4, 64,  32_768, 1e-6,  False,    10_000.0,    0),
    "gpt_oss":     ( 8, 64, 131_072, 1e-5,  False,   150_000.0,  128),
    "deepseek_v3": (64, 64,    4096, 1e-6,  False,    10_000.0,    0),
}  # fmt: skip


def read(family: str, **keys: object) -> ModelSpec:
    sizes = KEYS_BY_FAMILY.get(family, SIZES)
    return parse_huggingface_config(json.dumps({"model_type": family, **sizes, **keys}), "config.json", family)


def test_what_a_file_leaves_out_is_the_default_of_its_family() -> None:
    assert set(DEFAULTS) | {"umt5"} == set(OWN_READERS)
    for family, expected in DEFAULTS.items():
        spec = read(family)
        # XLNet's class counts no positions; the head that would be tied is none of its model
        tied = spec.tied_embeddings or spec.head == "none"
        base = spec.rope_base if spec.has_rotary_positions else 0.0
        window, epsilon = spec.sliding_window, spec.norm_epsilon
        assert (spec.kv_head_count, spec.head_size, spec.seq_length, epsilon, tied, base, window) == expected, family


def test_what_only_some_families_have_is_filled_too() -> None:
    deepseek, gpt_oss, qwen2_moe = read("deepseek_v3"), read("gpt_oss"), read("qwen2_moe")
    assert (deepseek.moe.shared_ffn_size, deepseek.moe.first_dense_layers, deepseek.mtp_layers) == (2048, 3, 1)
    assert deepseek.mla.q_lora_rank == 1536
    assert read("deepseek_v3", q_lora_rank=None, num_mtp_layers=0).mla.q_lora_rank == 0
    scaling = gpt_oss.rope_scaling
    assert (scaling.type, scaling.factor, scaling.original_seq_length) == ("yarn", 32.0, 4096)
    assert not scaling.truncate
    assert (gpt_oss.sliding_every, gpt_oss.moe.topk) == (2, 4)
    assert read("gpt_oss", rope_scaling={"rope_type": "linear", "factor": 2.0}).rope_scaling.type == "linear"
    assert (qwen2_moe.moe.shared_ffn_size, qwen2_moe.qkv_bias) == (5632, True)
    assert read("gpt_neox").rope_fraction == 0.25
    assert read("roberta").token_types == 2
    assert read("t5", feed_forward_proj="gated-silu").activation == "silu"


def test_null_is_as_many_heads_as_attention_has_and_no_window() -> None:
    spec = read("mistral", num_key_value_heads=None, sliding_window=None, head_dim=None)
    assert (spec.kv_head_count, spec.sliding_window, spec.head_size) == (64, 0, 64)


def test_windows_are_those_that_the_family_obeys() -> None:
    assert read("llama", sliding_window=1024).sliding_window == 0
    windows = {
        family: read(family, use_sliding_window=True, max_window_layers=layers)
        for family, layers in (("qwen2", 0), ("qwen3", 40), ("qwen2_moe", 40), ("qwen3_moe", 28))
    }
    expected = {"qwen2": (4096, 1), "qwen3": (0, 1), "qwen2_moe": (4096, 2), "qwen3_moe": (4096, 1)}
    assert {family: (spec.sliding_window, spec.sliding_every) for family, spec in windows.items()} == expected


@pytest.mark.parametrize(
    ("family", "keys", "parts"),
    [
        (
            "qwen2",
            {"num_attention_heads": 28, "hidden_size": 3584},
            ["num_key_value_heads", "28", "32"],
        ),
        ("qwen2_moe", {"use_sliding_window": True, "max_window_layers": 7}, ["max_window_layers", "40 layers"]),
        ("t5", {"feed_forward_proj": "gated-tanh"}, ["feed_forward_proj", "gated-tanh", "gated-gelu"]),
    ],
)
def test_a_default_that_does_not_fit_is_refused(family: str, keys: dict[str, object], parts: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        read(family, **keys)
    assert all(part in str(refused.value) for part in parts), str(refused.value)
