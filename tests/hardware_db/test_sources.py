"""Every figure of every accelerator says where it is from, and was read there."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from planner.decode import decode_text
from planner.errors import InputError
from planner.hardware import database
from planner.hardware.accelerator import AcceleratorSpec, resolve_accelerator
from planner.hardware.figures import SourcedFigure, check_figures

NAMES = database.list_database_names("accelerators")
KNOWN = """
p100-sxm2-16gb v100-sxm2-16gb v100-sxm2-32gb t4 a10 a100-pcie-40gb a100-pcie-80gb a100-sxm-40gb a100-sxm-80gb
a800-sxm-80gb l4 l40s rtx-4090 h100-pcie-80gb h100-sxm-80gb h800-sxm-80gb h20 h200-sxm h200-nvl gh200-96gb gh200-144gb
b200 gb200 b300 gb300 jetson-agx-orin-64gb mi250x mi300x mi325x mi350x mi355x tpu-v1 tpu-v2 tpu-v3 tpu-v4 tpu-v5e
tpu-v5p tpu-v6e tpu-v7 edge-tpu gaudi1 gaudi2 gaudi3 max-1550 myriad-x eyeq4 eyeq5 eyeq-ultra trainium1 trainium2
ascend-910 ascend-910b kirin-9000-npu apple-m4-ane snapdragon-8-gen-1-hexagon cloud-ai-100-pro ethos-n78
graphcore-gc200 cerebras-wse-2 alveo-u250 xeon-8480plus epyc-9654
"""
NOT_PLANNED = {"gaudi1": "no public source states a peak"}
"""Parts that can train and yet lack what planning needs."""


def read_spec(name: str) -> AcceleratorSpec:
    return database.load_accelerator_spec(name)


def find_problem(part: AcceleratorSpec) -> str:
    """The message about the figures of a part; empty where all is well."""
    try:
        check_figures(part, part.name)
    except InputError as error:
        return str(error)
    return ""


def enumerate_figures(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every number, and every table that has a number, below a value with its path."""
    if isinstance(value, SourcedFigure) or (isinstance(value, int | float) and not isinstance(value, bool)):
        yield path, value
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from enumerate_figures(getattr(value, field), f"{path}.{field}".strip("."))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from enumerate_figures(item, f"{path}.{key}")
    elif isinstance(value, tuple):
        for item in value:
            yield from enumerate_figures(item, path)


def test_the_chips_that_the_field_knows_are_there() -> None:
    assert set(KNOWN.split()) <= set(NAMES)


def test_every_figure_names_a_reachable_source_and_was_read_there() -> None:
    for name in NAMES:
        part = read_spec(name)
        used = set()
        for path, figure in enumerate_figures(part):
            if path == "year":
                continue
            assert isinstance(figure, SourcedFigure), f"{name}: {path} has no source"
            assert figure.source in part.sources, (name, path)
            assert figure.confidence == "read", (name, path)
            used.add(figure.source)
        assert used == set(part.sources), f"{name}: a source that no figure names"
        for key, source in part.sources.items():
            assert len(source.title) > 8, (name, key)
            # without an address the title says what to search for
            assert re.match(r"https?://[^\s/]+\.[a-z]+(/|$)", source.url) or not source.url, (name, key)
            assert re.fullmatch(r"(20\d\d(-\d\d(-\d\d)?)?)?", source.date), (name, key)


def test_the_file_describes_its_part() -> None:
    for name in NAMES:
        part = read_spec(name)
        assert part.name == name
        assert part.title and part.vendor and part.architecture and part.year is not None, name
        assert [word for word in (*part.frameworks, *part.clouds) if word != word.lower()] == [], name
        assert len(set(part.clouds)) == len(part.clouds), name
        assert {price.cloud for price in part.prices} <= set(part.clouds), name
        assert part.frameworks or part.vendor == "Mobileye", name  # which lets nobody program its chips


def test_units_are_right_and_values_possible() -> None:
    for name in NAMES:
        assert find_problem(read_spec(name)) == "", name


def test_parts_that_can_train_can_be_planned_for_and_others_give_a_reason() -> None:
    for name in NAMES:
        part = read_spec(name)
        if part.can_train and name not in NOT_PLANNED:
            assert not part.why_not_train, name
            assert resolve_accelerator(part).peak_flops, name
            continue
        with pytest.raises(InputError) as caught:
            resolve_accelerator(part)
        if not part.can_train:
            assert len(part.why_not_train) > 20, name
            assert f"{name} cannot train: {part.why_not_train}" in str(caught.value)


def test_the_example_of_the_documentation_is_read() -> None:
    text = (Path(__file__).parents[2] / "hardware_db" / "README.md").read_text()
    example = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert example is not None
    part = decode_text(example[1], "toml", AcceleratorSpec, "README.md")
    check_figures(part, "README.md")
    assert resolve_accelerator(part).usd_per_hour == 2.5
    unnamed = [field for field in AcceleratorSpec.__struct_fields__ if f"`{field}" not in text]
    assert unnamed == []
