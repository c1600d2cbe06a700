"""Real config.json files give the published parameter count exactly."""

import csv
import json
from pathlib import Path

import pytest

from planner.errors import InputError
from planner.workload.huggingface.families import OWN_READERS
from planner.workload.huggingface.read_config import parse_huggingface_config
from planner.workload.transformer import build_workload

FIXTURES = Path(__file__).parents[1] / "fixtures"
CONFIGS = sorted(path.parent.name for path in FIXTURES.glob("configs/*/config.json"))


def read_published_counts() -> dict[str, int]:
    with (FIXTURES / "parameter_counts.csv").open(newline="") as file:
        return {row["name"]: int(row["parameters"]) for row in csv.DictReader(file) if row["rounding"] == "1"}


def read_fixture(name: str) -> str:
    return (FIXTURES / "configs" / name / "config.json").read_text()


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_equal_the_published_count(name: str) -> None:
    spec = parse_huggingface_config(read_fixture(name), f"{name}/config.json", name)
    counts, architectures = read_published_counts(), json.loads(read_fixture(name)).get("architectures", [""])
    assert name in counts, "its exact count stands in tests/fixtures/parameter_counts.csv by the folder's name"
    # of the class that the file names, where it is not the one of the published count
    assert build_workload(spec).parameters == counts.get(f"{name}/{architectures[0]}", counts[name])


@pytest.mark.parametrize("name", ["bert-base-uncased", "bert-large-uncased", "roberta-large", "xlnet-large-cased"])
def test_a_base_model_has_no_head(name: str) -> None:
    for architectures in ("missing", ["XLNetModel" if name.startswith("xlnet") else "BertModel"]):
        spec = parse_huggingface_config(change_config(name, architectures=architectures), "c", name)
        assert build_workload(spec).parameters == read_published_counts()[name]


def test_every_family_of_its_own_reader_has_a_real_file() -> None:
    assert {json.loads(read_fixture(name))["model_type"] for name in CONFIGS} | {"umt5"} == set(OWN_READERS)


def change_config(name: str, **keys: object) -> str:
    raw = json.loads(read_fixture(name))
    raw.update(keys)
    return json.dumps({key: value for key, value in raw.items() if value != "missing"})


def refuse_config(config: str) -> str:
    with pytest.raises(InputError) as refused:
        parse_huggingface_config(config, "config.json", "x")
    return str(refused.value)


def test_an_unknown_model_type_lists_the_known_types() -> None:
    message = refuse_config(change_config("llama-3-8b", model_type="lama"))
    assert "did you mean llama?" in message
    assert "planner models families" in message


def test_a_missing_model_type_is_never_guessed() -> None:
    assert "model_type" in refuse_config(change_config("llama-3-8b", model_type="missing"))


@pytest.mark.parametrize("family", ["llama-3-8b", "deepseek-v3", "gpt2", "t5-large", "xlnet-large-cased"])
def test_a_truncated_file_is_reported(family: str) -> None:
    whole = read_fixture(family)
    for cut in range(0, len(whole.rstrip()) - 1, 37):
        assert "config.json" in refuse_config(whole[:cut])


@pytest.mark.parametrize(
    ("keys", "parts"),
    [
        ({"hidden_size": "4096"}, ["hidden_size", '"4096"', "a whole number"]),
        ({"hidden_size": -4096}, ["hidden_size", "-4096", "from 1 to"]),
        ({"hidden_size": None}, ["hidden_size", "null"]),
        ({"hidden_size": "missing"}, ["hidden_size", "missing key"]),
        ({"num_hidden_layers": -3}, ["num_hidden_layers", "-3"]),
        ({"num_hidden_layers": 0}, ["num_hidden_layers", "value:    0"]),
        ({"num_hidden_layers": 100_000}, ["num_hidden_layers", "100000", "2,048"]),
        ({"num_attention_heads": 0}, ["num_attention_heads", "value:    0"]),
        ({"num_attention_heads": 33}, ["num_attention_heads", "33", "a divisor of hidden_size 4096"]),
        ({"num_key_value_heads": 5}, ["num_key_value_heads", "5", "a divisor of num_attention_heads 32"]),
        ({"tie_word_embeddings": 1}, ["tie_word_embeddings", "true or false"]),
        ({"vocab_size": 10**400}, ["vocab_size"]),
        ({"hidden_size": True}, ["hidden_size", "true"]),
        ({"model_type": 5}, ["model_type", "value:    5", "llama"]),
    ],
)
def test_a_wrong_value_is_reported_with_its_key(keys: dict[str, object], parts: list[str]) -> None:
    message = refuse_config(change_config("llama-3-8b", **keys))
    for part in ["config.json", *parts]:
        assert part in message


def test_a_value_is_reported_under_the_key_of_its_family() -> None:
    assert "n_embd" in refuse_config(change_config("gpt2", n_embd=0))
    assert "num_local_experts" in refuse_config(change_config("mixtral-8x7b-v0.1", num_local_experts=0))
    assert "num_experts_per_tok" in refuse_config(change_config("mixtral-8x7b-v0.1", num_experts_per_tok=9))


def test_sliding_windows_reach_the_operators() -> None:
    spec = parse_huggingface_config(read_fixture("gpt-oss-120b"), "config.json", "gpt-oss")
    layer_names = [run.layer.name for run in build_workload(spec).layer_runs]
    assert layer_names == ["moe-window", "moe"] * 18
