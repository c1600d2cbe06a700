"""A bare size gives a sensible shape."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import InputError
from planner.workload.from_size import build_spec_for_size, describe_size, looks_like_size
from planner.workload.transformer import build_workload


@given(st.floats(min_value=0.02, max_value=50_000))
@settings(max_examples=60)
def test_the_shape_has_about_the_size(billions: float) -> None:
    text = f"{billions * 1000:.0f}M"
    spec = build_spec_for_size(text)
    workload = build_workload(spec)
    within = 0.03 if billions >= 0.1 else 0.12
    assert workload.parameters == pytest.approx(float(text[:-1]) * 1e6, rel=within)
    assert workload.heads % workload.kv_heads == 0


@pytest.mark.parametrize("text", ["0.1B", "0.3B", "0.5B", "1B", "3B", "7B", "13B", "70B", "405B", "1T"])
def test_common_sizes_divide_well(text: str) -> None:
    spec = build_spec_for_size(text)
    assert spec.heads % 8 == 0
    assert spec.layers % 4 == 0
    assert 2.5 < spec.ffn_size / spec.hidden_size < 4.5
    assert 20 < spec.hidden_size / spec.layers < 300


def test_a_published_size_gets_its_published_shape() -> None:
    spec = build_spec_for_size("70B")
    assert (spec.layers, spec.hidden_size, spec.heads, spec.kv_heads) == (80, 8192, 64, 8)


def test_the_shape_is_described() -> None:
    workload = build_workload(build_spec_for_size("13B"))
    description = describe_size(build_spec_for_size("13B"))
    assert f"{workload.layer_count} layers" in description
    assert f"hidden {workload.hidden_size}" in description


@pytest.mark.parametrize("text", ["70B", "7b", "1.5T", "125M", "1e9B"])
def test_sizes_are_recognised(text: str) -> None:
    assert looks_like_size(text)


@pytest.mark.parametrize("text", ["llama-70B", "70", "B", "70BB", "-7B"])
def test_other_names_are_not_sizes(text: str) -> None:
    assert not looks_like_size(text)


@pytest.mark.parametrize("text", ["1M", "900T", "1e9B"])
def test_sizes_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="10M to 100T"):
        build_spec_for_size(text)
