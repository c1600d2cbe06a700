"""Messages about impossible models, by key, and about rare settings in Hugging Face's files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.errors import InputError
from planner.workload.huggingface.read_config import parse_huggingface_config
from planner.workload.presets import parse_model_file
from planner.workload.spec import ModelSpec
from tests.cli.test_bad_input import GOOD
from tests.workload.test_network import GOOD as NETWORK
from tests.workload.test_network import build_network

CONFIGS = Path(__file__).parents[1] / "fixtures" / "configs"
CONV = '{ op = "conv2d", out = 8, kernel = 3, batch_norm = true, relu = true },\n  { op = "add", with = ["input"] },'
MOE = "[moe]\nexperts = 4\ntopk = 1\nexpert_ffn_size = 64\n"
OPERATORS = [
    ('{ op = "take", out = 9 },', "out", "too many channels"),
    ('{ op = "conv2d", out = 7, kernel = 1 },\n  { op = "activation", gated = true },', "gated", "cannot be halved"),
    (
        '{ op = "max_pool", name = "p", kernel = 2 },\n  { op = "concat", with = ["input", "p"] },',
        "with",
        "different sizes",
    ),
    ('{ op = "attention", heads = 3, kv_heads = 2, head_dim = 8 },', "kv_heads", "does not fit the heads"),
]


@pytest.mark.parametrize(("operators", "key", "message"), OPERATORS)
def test_an_operator_that_does_not_fit_its_input_is_reported(operators: str, key: str, message: str) -> None:
    text = NETWORK.replace(CONV, operators)
    assert text != NETWORK
    with pytest.raises(InputError, match=message) as refused:
        build_network(text)
    assert refused.value.key.endswith(f".{key}")


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('sample = "image"', 'sample = "9"', "sample"),
        ("repeat = 2", "repeat = 9999", "layers"),
        ("input = [3, 32, 32]", "input = [3]", "input"),
    ],
)
def test_an_impossible_network_is_reported(old: str, new: str, key: str) -> None:
    with pytest.raises(InputError) as refused:
        build_network(NETWORK.replace(old, new))
    assert refused.value.key.startswith(key)


@pytest.mark.parametrize(
    ("added", "key"),
    [
        (MOE + "first_dense_layers = 4\n", "moe.first_dense_layers"),
        (MOE.replace("topk = 1", "topk = 5"), "moe.topk"),
        ('architecture = "encoder-decoder"\n', "decoder_layers"),
        ("decoder_layers = 3\n", "decoder_layers"),
        ("kv_heads = 3\n", "kv_heads"),
    ],
)
def test_an_impossible_transformer_is_reported(added: str, key: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_model_file(GOOD + added, "toml", "mine.toml")
    assert refused.value.key == key


def read_changed_config(name: str, **changes: object) -> ModelSpec:
    """A real configuration with some keys changed."""
    raw = json.loads((CONFIGS / name / "config.json").read_text())
    return parse_huggingface_config(json.dumps({**raw, **changes}), "config.json", name)


@pytest.mark.parametrize("name", ["qwen2-7b", "qwen3-8b"])
def test_a_sliding_window_is_read_where_it_is_used(name: str) -> None:
    used = {"use_sliding_window": True, "sliding_window": 4096}
    assert read_changed_config(name, **used, max_window_layers=0).sliding_window == 4096
    # in these files the first layer with a window is after the last layer
    assert read_changed_config(name, **used).sliding_window == 0
    assert read_changed_config(name, use_sliding_window=False, sliding_window=4096).sliding_window == 0


@pytest.mark.parametrize(
    ("name", "changes", "key"),
    [
        ("qwen3-30b-a3b", {"mlp_only_layers": [1]}, "mlp_only_layers"),
        ("qwen2-7b", {"use_sliding_window": "yes"}, "use_sliding_window"),
        (
            "qwen2-7b",
            {"use_sliding_window": True, "sliding_window": 4096, "max_window_layers": 14},
            "max_window_layers",
        ),
        ("t5-large", {"feed_forward_proj": 3}, "feed_forward_proj"),
    ],
)
def test_a_key_of_another_type_is_reported(name: str, changes: dict[str, object], key: str) -> None:
    with pytest.raises(InputError) as refused:
        read_changed_config(name, **changes)
    assert refused.value.key == key
    assert refused.value.origin == "config.json"
