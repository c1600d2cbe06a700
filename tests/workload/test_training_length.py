"""The length of sequences that a config.json is planned at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.request.inputs import read_model

CONFIGS = Path(__file__).parents[1] / "fixtures" / "configs"


@pytest.mark.parametrize(
    ("config", "preset"),
    [
        ("llama-3.1-405b", "llama-3.1-405b"),
        ("llama-3-8b", "llama-3-8b"),
        ("llama-2-7b", "llama-2-7b"),
        ("deepseek-v3", "deepseek-v3"),
        ("gpt-oss-20b", "gpt-oss-20b"),
        ("mixtral-8x7b-v0.1", "mixtral-8x7b"),
        ("mistral-7b-v0.1", "mistral-7b"),
        ("qwen3-30b-a3b", "qwen3-30b-a3b"),
    ],
)
def test_a_configuration_is_planned_at_the_length_of_the_preset(config: str, preset: str) -> None:
    assert read_model(str(CONFIGS / config), None).seq_length == read_model(preset, None).seq_length


@pytest.mark.parametrize("config", sorted(path.name for path in CONFIGS.iterdir() if path.is_dir()))
def test_a_length_that_is_assumed_is_said(config: str) -> None:
    raw = json.loads((CONFIGS / config / "config.json").read_text("utf-8"))
    longest = raw.get("max_position_embeddings", raw.get("n_positions"))
    assumed = read_model(str(CONFIGS / config), None)
    if longest is not None and "roberta" not in config:
        assert assumed.seq_length <= min(longest, 8192)
        assert (f"of the {longest:,}" in assumed.note) is (assumed.seq_length < longest)
        given = read_model(str(CONFIGS / config), longest)
        assert (given.seq_length, "sequence" in given.note) == (longest, False)
