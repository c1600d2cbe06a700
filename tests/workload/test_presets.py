"""Every preset has exactly the parameters that its authors state."""

import pytest

from planner.errors import InputError
from planner.request.inputs import read_model
from planner.workload.model_file import format_model_file
from planner.workload.presets import (
    find_hub_name,
    list_hub_names,
    list_preset_names,
    parse_model_file,
    read_hub_preset,
    read_model_preset,
    read_transformer_preset,
)
from planner.workload.transformer import build_workload

UNPUBLISHED = {"wavenet"}  # counted by hand in test_families.py


@pytest.mark.parametrize("name", sorted(set(list_preset_names()) - UNPUBLISHED))
def test_parameters_equal_the_published_count(name: str) -> None:
    spec = read_model_preset(name)
    assert spec.published is not None, "a preset states its published count"
    assert spec.published.source
    counted, rounding = build_workload(spec).parameters, spec.published.rounding
    assert round(counted / rounding) * rounding == spec.published.parameters


def test_the_models_that_the_guide_lists_exist() -> None:
    listed = """gpt-1.7b gpt-3.6b gpt-7.5b gpt-18.4b gpt-39.1b gpt-76.1b gpt-145.6b gpt-310.1b gpt-529.6b
    gpt-1008b gpt-3-175b megatron-22b megatron-530b megatron-1t llama-2-7b llama-2-13b llama-2-70b llama-3-8b
    llama-3-70b llama-3.1-405b bert-base bert-large roberta-large t5-large t5-11b xlnet-large mixtral-8x7b
    deepseek-v3 qwen3-30b-a3b gpt-oss-120b resnet-50 resnet-152 inception-v3 wavenet vit-b-16 vit-l-16 vit-h-14"""
    assert set(listed.split()) <= set(list_preset_names())


def test_an_unknown_name_gets_the_nearest_name() -> None:
    with pytest.raises(InputError, match=r"did you mean llama-3-70b\?"):
        read_model_preset("lama-3-70b")


def test_active_parameters_of_a_mixture_of_experts() -> None:
    # DeepSeek-V3 technical report (arXiv 2412.19437): 37B activated of 671B
    assert build_workload(read_model_preset("deepseek-v3")).active_parameters == pytest.approx(37.5e9, rel=0.02)
    # Qwen3 technical report (arXiv 2505.09388): 3.3B activated of 30.5B
    assert build_workload(read_model_preset("qwen3-30b-a3b")).active_parameters == pytest.approx(3.3e9, rel=0.03)


@pytest.mark.parametrize("name", list_hub_names())
def test_a_preset_of_the_hub_has_the_published_count(name: str) -> None:
    spec = read_hub_preset(name)
    assert spec.published is not None
    assert build_workload(spec).parameters == spec.published.parameters
    assert spec.name == name


@pytest.mark.parametrize("name", list_hub_names())
def test_a_count_says_whether_its_configuration_and_name_were_read(name: str) -> None:
    published = read_hub_preset(name).published
    assert published is not None
    was_not_read = any(words in published.source for words in ("written from documented values", "recalled"))
    assert (published.confidence == "recalled") == was_not_read


def test_presets_of_the_hub_are_found_in_any_case_and_under_former_names() -> None:
    for typed, name in (
        ("qwen/QWEN3-235b-a22b", "Qwen/Qwen3-235B-A22B"),
        ("meta-llama/Meta-Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("deepseek-ai/DeepSeek-V3.2", "deepseek-ai/DeepSeek-V3.2"),
    ):
        assert find_hub_name(typed) == name
        assert read_model(typed, None).name == name
    assert find_hub_name("nobody/nothing") is None


@pytest.mark.parametrize("name", [*list_hub_names()[::7], "deepseek-v3", "gpt-oss-120b", "vit-b-16", "t5-large"])
def test_a_model_is_read_back_from_its_file(name: str) -> None:
    spec = read_hub_preset(name) if "/" in name else read_transformer_preset(name)
    assert parse_model_file(format_model_file(spec), "toml", "model.toml") == spec
