"""`planner hardware`: what is listed, shown and compared, for people and for programs."""

import csv
import io
import json
import re
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from planner.documents.hardware import build_hardware_comparison, build_hardware_document
from planner.hardware import catalogue, database
from planner.report.formats import terminal
from planner.report.formats.registry import render_document
from tests.cli.run import call
from tests.examples import DEFAULTS, LAB
from tests.schemas import validate_document

NAMES = database.list_database_names("accelerators")
ENTRIES = catalogue.read_accelerator_entries()
FIGURES = {
    "peak": lambda entry: entry.find_peak_flops(),
    "memory": lambda entry: entry.memory_bytes,
    "bandwidth": lambda entry: entry.memory_bandwidth_bytes_per_s,
    "power": lambda entry: entry.tdp_w,
    "price": lambda entry: entry.usd_per_hour,
    "year": lambda entry: entry.spec.year,
}


def list_names(*options: str) -> list[str]:
    """Names of `planner hardware list` in their order."""
    done = call("planner", "hardware", "list", *options, "--format", "csv")
    assert (done.returncode, done.stderr) == (0, "")
    return [row["name"] for row in csv.DictReader(io.StringIO(done.stdout))]


def test_all_are_listed_by_name() -> None:
    assert list_names() == NAMES
    table = call("planner", "hardware", "list").stdout
    assert [line.split()[0] for line in table.splitlines()[2:]] == NAMES


@pytest.mark.parametrize(
    ("options", "there", "not_there"),
    [
        (("--kind", "GPU"), "h100-sxm-80gb", "tpu-v4"),
        (("--place", "edge"), "jetson-agx-orin-64gb", "t4"),
        (("--vendor", "nvidia"), "h100-sxm-80gb", "mi300x"),
        (("--can-train",), "tpu-v2", "tpu-v1"),
        (("--inference-only",), "tpu-v1", "tpu-v2"),
        (("--framework", "JAX"), "tpu-v5p", "gaudi2"),
        (("--cloud", "AWS"), "trainium2", "tpu-v5p"),
        (("--precision", "FP8"), "h100-sxm-80gb", "a100-sxm-80gb"),
        (("--min-memory", "80GiB"), "h100-sxm-80gb", "a100-sxm-40gb"),  # 79.65 GiB are what a driver shows
        (("--year", "2024.."), "b200", "h100-sxm-80gb"),
        (("--year", "..2017"), "p100-sxm2-16gb", "t4"),
        (("--year", "2020..2021"), "a100-sxm-80gb", "h100-sxm-80gb"),
        (("--year", "2025"), "mi355x", "mi325x"),
    ],
)
def test_a_filter_keeps_the_parts_that_match(options: tuple[str, ...], there: str, not_there: str) -> None:
    names = list_names(*options)
    assert there in names
    assert not_there not in names


def test_filters_add_up() -> None:
    assert sorted(list_names("--can-train") + list_names("--inference-only")) == NAMES
    both = (
        set(list_names("--kind", "gpu"))
        & set(list_names("--framework", "jax"))
        & set(list_names("--min-memory", "100GB"))
    )
    assert list_names("--kind", "gpu", "--framework", "jax", "--min-memory", "100GB") == sorted(both)
    assert "No accelerator" in call("planner", "hardware", "list", "--kind", "fpga", "--can-train").stdout


@pytest.mark.parametrize("order", FIGURES)
def test_an_order_has_a_single_direction_and_unknown_figures_are_last(order: str) -> None:
    by_name = {entry.name: entry for entry in ENTRIES}
    values = [FIGURES[order](by_name[name]) for name in list_names("--sort", order)]
    known = [value for value in values if value is not None]
    assert values[: len(known)] == known
    assert known == sorted(known, reverse=order not in ("power", "price"))


@given(first=st.integers(1000, 9999), last=st.integers(1000, 9999))
def test_years_are_read_as_they_are_written(first: int, last: int) -> None:
    first, last = sorted((first, last))
    assert catalogue.parse_year_range(f"{first}..{last}") == (first, last)
    assert catalogue.parse_year_range(f"{first}..") == (first, 9999)
    assert catalogue.parse_year_range(f"..{last}") == (0, last)
    assert catalogue.parse_year_range(f"{last}") == (last, last)


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        ("list --vendor nvida", ["--vendor", "did you mean NVIDIA?"]),
        ("list --kind gpus", ["--kind", "did you mean gpu?"]),
        ("list --place mobil", ["--place", "did you mean mobile?"]),
        ("list --framework pytorc", ["--framework", "did you mean pytorch?"]),
        ("list --cloud azur", ["--cloud", "did you mean azure?"]),
        ("list --precision fp9", ["--precision", "did you mean fp"]),
        (
            "list --can-train --inference-only",
            ["--can-train, --inference-only: conflicting options", "one of the two"],
        ),
        (
            "list --inference-only --can-train",
            ["--can-train, --inference-only: conflicting options", "one of the two"],
        ),
        ("list --sort pric", ["--sort", "did you mean price?"]),
        ("list --min-memory 80", ["--min-memory", "without a unit"]),
        ("list --min-memory 80GB/s", ["--min-memory", "80GiB"]),
        ("list --year 22", ["--year", "2020..2023"]),
        ("list --year ..", ["--year", "2020..2023"]),
        ("list --year 20202021", ["--year", "2020..2023"]),
        ("list --year 2023..2020", ["--year", "ends before it begins"]),
        ("show h100-sxm-80g", ["did you mean h100-sxm-80gb?"]),
        ("show H100", ["did you mean h100-sxm-80gb?"]),
        ("show h100-sxm", ["did you mean h100-sxm-80gb?"]),
        ("show gh200", ["did you mean gh200-96gb?"]),
        ("show a100", ["did you mean a100-sxm"]),
        ("compare b200", ["nothing to compare with"]),
        ("compare b200 b20", ["did you mean b200?"]),
        ("compare b200 b300 --precision bf61", ["--precision", "did you mean bf16?"]),
    ],
)
def test_an_unknown_name_is_reported_with_the_nearest_name(arguments: str, messages: list[str]) -> None:
    done = call("planner", "hardware", *arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    for part in messages:
        assert part in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_all_can_be_shown_with_every_source(name: str) -> None:
    done = call("planner", "hardware", "show", name, "--sources")
    assert (done.returncode, done.stderr) == (0, "")
    spec = database.load_accelerator_spec(name)
    assert spec.title in done.stdout
    assert spec.why_not_train in done.stdout
    for key, source in spec.sources.items():
        assert re.search(rf"^{re.escape(key)} +{re.escape(source.title)}", done.stdout, re.MULTILINE)
        assert source.url in done.stdout


def test_a_listing_and_a_part_look_as_documented() -> None:
    text = call("planner", "hardware", "show", "edge-tpu").stdout
    assert [line.rstrip() for line in text.splitlines()] == [
        "Google Edge TPU (Coral)",
        "Name        edge-tpu",
        "Kind        tpu of Google, edge-tpu, edge, 2018",
        "Training    no: It takes networks that were trained elsewhere, quantised to 8 bits and compiled",
        "Frameworks  tensorflow",
        "At int8     2.00 TOP/s per watt",
        "",
        "Figures",
        "figure                 value  source  confidence",
        "────────────────────────────────────────────────",
        "peak int8, dense  4.00 TOP/s  coral   read",
        "on-chip memory      7.63 MiB  coral   read",
        "power                    2 W  coral   read",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("list", "--kind", "fpga", "--can-train"),
        ("show", "h100-sxm-80gb"),
        ("compare", "t4", "kirin-9000-npu"),
        ("compare", "b200", "mi355x", "tpu-v7", "--precision", "fp8"),
    ],
)
def test_documents_match_the_published_schema(arguments: tuple[str, ...]) -> None:
    schema = json.loads(call("planner", "schema", "hardware").stdout)
    done = call("planner", "hardware", *arguments, "--format", "json")
    document = json.loads(done.stdout)
    validate_document(document, schema)
    assert document["schema_version"] == "1.1"
    assert done.stdout == call("planner", "hardware", *arguments, "--format", "json").stdout
    with pytest.raises(jsonschema.ValidationError):
        validate_document({**document, "another": 1}, schema)


def test_the_document_has_every_figure_with_its_source() -> None:
    part = json.loads(call("planner", "hardware", "show", "h100-sxm-80gb", "-f", "json").stdout)["accelerators"][0]
    peak = part["peak_flops"]["bf16"]
    assert (peak["value"], peak["unit"], peak["confidence"]) == (989.4e12, "FLOP/s", "read")
    assert part["sources"][peak["source"]]["url"].startswith("https://")
    assert part["memory"]["bus_width"]["value"] == 5120
    assert part["usd_per_hour"] == min(offer["rent"]["value"] for offer in part["prices"])


def test_a_comparison_is_to_the_first() -> None:
    entries = [catalogue.read_accelerator_entry(name) for name in ("a100-sxm-80gb", "h100-sxm-80gb", "edge-tpu")]
    rows = {row.figure: row for row in build_hardware_comparison(entries, "bf16").rows}
    assert rows["memory bandwidth"].ratios == [1.0, 3.35e12 / 2.039e12, None]
    assert rows["ridge point"].values == [312e12 / 2.039e12, 989.4e12 / 3.35e12, None]
    assert rows["peak per watt"].values[1] == 989.4e12 / 700
    dollars = entries[1].usd_per_hour
    assert dollars is not None
    assert rows["peak per dollar"].values[1] == 989.4e12 * 3600 / dollars
    text = call("planner", "hardware", "compare", *(entry.name for entry in entries)).stdout
    assert "3.17x" in text
    assert "edge-tpu cannot train: It takes networks" in text
    assert "ridge point at int8" in text  # what all three state


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_any_terminal_gets_whole_figures(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def console(_: int = 0) -> Console:
        return Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, highlight=False)

    monkeypatch.setattr(terminal, "build_console", console)
    entries = [
        catalogue.read_accelerator_entry(name) for name in ("h100-sxm-80gb", "t4", "snapdragon-8-gen-1-hexagon")
    ]
    texts = {
        "list": render_document(build_hardware_document(ENTRIES), "table"),
        "show": render_document(build_hardware_document(entries[:1]), "table"),
        "compare": render_document(
            build_hardware_document(entries, None, build_hardware_comparison(entries, None)), "table"
        ),
    }
    for text in texts.values():
        assert "…" not in text
        assert max(map(len, re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines())) <= width
    assert "989 T bf16" in texts["list"]
    assert all(name in texts["list"] for name in NAMES)
    assert "3.35 TB/s" in texts["show"]
    assert "320 GB/s" in texts["compare"]
    if width >= 80:
        assert "USD/h" in texts["list"]


def test_a_chip_that_cannot_train_is_never_planned_for(tmp_path: Path) -> None:
    for name in list_names("--inference-only"):
        file = tmp_path / f"{name}.toml"
        file.write_text(
            f'name = "shelf"\nnodes = 2\n[node]\ndevices = 8\naccelerator = "{name}"\n'
            '[node.link]\nbandwidth = "16GB/s"\nlatency = "5us"\n'
            '[node.nic]\ncount = 1\nbandwidth = "100Gb/s"\nlatency = "5us"\n[[fabric]]\nname = "leaf"\nnodes = 2\n'
        )
        done = call("plan", "llama-3-8b", "--cluster", str(file), "--global-batch", "64")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{name} cannot train: {database.load_accelerator_spec(name).why_not_train}" in done.stderr
    own = LAB.format(**DEFAULTS).replace(
        'name = "chip"', 'name = "chip"\ncan_train = false\nwhy_not_train = "Sealed"'
    )
    file.write_text(own)
    done = call("plan", "llama-3-8b", "--cluster", str(file), "--global-batch", "64")
    assert (done.returncode, done.stdout) == (2, "")
    assert "chip cannot train: Sealed" in done.stderr


def test_every_form_has_the_peak_of_the_chosen_precision() -> None:
    def list_nvidia(form: str, *options: str) -> str:
        done = call("planner", "hardware", "list", "--vendor", "nvidia", *options, "--format", form)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    at_fp8 = {
        entry.name: entry.find_peak_flops("fp8")
        for entry in ENTRIES
        if entry.spec.vendor == "NVIDIA" and entry.find_peak_flops("fp8")
    }
    rows = list(csv.DictReader(io.StringIO(list_nvidia("csv", "--precision", "fp8"))))
    assert {row["name"]: float(row["peak_flops"]) for row in rows} == at_fp8
    assert {row["precision"] for row in rows} == {"fp8"}
    document = json.loads(list_nvidia("json", "--precision", "fp8"))
    assert document["precision"] == "fp8"
    assert {entry["name"]: entry["peak_flops"]["fp8"]["value"] for entry in document["accelerators"]} == at_fp8
    for form in ("markdown", "html", "table"):
        assert "4.50 P" in list_nvidia(form, "--precision", "fp8")
        assert " fp8" in list_nvidia(form, "--precision", "fp8")
        assert " bf16" not in list_nvidia(form, "--precision", "fp8")
    assert " bf16" in list_nvidia("markdown")
    assert json.loads(list_nvidia("json"))["precision"] is None
