"""A user's model file: what is read, and messages about errors."""

import pytest

from planner.errors import InputError
from planner.workload.operators import Linear
from planner.workload.presets import parse_model_file
from planner.workload.transformer import build_workload

GOOD = """
name = "mine"
hidden_size = 512
layers = 4
heads = 8
ffn_size = 2048
vocab_size = 1000
seq_length = 256
"""


def test_a_plain_file_is_read() -> None:
    workload = build_workload(parse_model_file(GOOD, "toml", "mine.toml"))
    assert workload.layer_count == 4
    # 12 h^2 per layer of a GPT without biases, norms of 2 h (two a layer, one at the end), two tables
    assert workload.parameters == 4 * (12 * 512**2 + 4 * 512) + 2 * 512 + 2 * 1000 * 512


def test_a_pooler_multiplies_a_single_token_of_a_sequence() -> None:
    spec = parse_model_file(f'{GOOD}architecture = "encoder"\nhead = "pooler"\n', "toml", "mine.toml")
    for length in (None, 128):
        workload = build_workload(spec, seq_length=length)
        (pooler,) = (op for op in workload.head.operators if op.name == "pooler")
        assert isinstance(pooler, Linear)
        assert pooler.rows * workload.seq_length == 1


def test_latent_attention_has_the_bias_of_its_output_too() -> None:
    latent = (
        "[mla]\nq_lora_rank = 64\nkv_lora_rank = 64\nqk_nope_head_dim = 32\nqk_rope_head_dim = 16\nv_head_dim = 32\n"
    )
    plain, biased = (
        build_workload(parse_model_file(f"{GOOD}{key}{latent}", "toml", "mine.toml"))
        for key in ("", "attention_out_bias = true\n")
    )
    assert biased.parameters == plain.parameters + 4 * 512


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ("hiden_size = 5", ["mine.toml", "hiden_size", "did you mean hidden_size?"]),
        ("kv_heads = 3", ["kv_heads", "value:    3", "a divisor of heads 8"]),
        ('head_dim = "x"', ["head_dim", 'value:    "x"', "a whole number"]),
        ("learned_positions = -1", ["learned_positions", "-1"]),
        ('norm = "rmsnrm"', ["norm", "rmsnrm", "one of layernorm, rmsnorm", "did you mean rmsnorm?"]),
        ("decoder_layers = 2", ["decoder_layers", "encoder-decoder"]),
        ("[moe]\nexperts = 4\ntopk = 8\nexpert_ffn_size = 64", ["moe.topk", "at most moe.experts 4"]),
        ("[moe]\nexpert = 4", ["moe.expert", "did you mean experts?"]),
    ],
)
def test_a_wrong_key_is_reported(change: str, parts: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        parse_model_file(GOOD + change, "toml", "mine.toml")
    for part in parts:
        assert part in str(refused.value)


@pytest.mark.parametrize(("key", "most"), [("layers = 4", "2,048"), ("heads = 8", "65,536")])
def test_a_figure_with_extra_zeros_is_reported_and_not_computed(key: str, most: str) -> None:
    with pytest.raises(InputError, match=f"at most {most}"):
        parse_model_file(GOOD.replace(key, f"{key}00000"), "toml", "mine.toml")


def test_a_missing_key_is_reported() -> None:
    with pytest.raises(InputError, match="ffn_size: is missing"):
        parse_model_file(GOOD.replace("ffn_size = 2048", ""), "toml", "mine.toml")


def test_a_truncated_file_is_reported() -> None:
    with pytest.raises(InputError, match="not valid TOML"):
        parse_model_file(GOOD + "[moe", "toml", "mine.toml")
