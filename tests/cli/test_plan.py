"""`plan` and `planner estimate` from the outside."""

import copy
import json
import re
from pathlib import Path

import jsonschema
import pytest

from tests.cli.run import call
from tests.examples import DEFAULTS, LAB
from tests.schemas import validate_document

MAIN = ("llama-3-70b", "--cluster", "dgx-h100", "--nodes", "64", "--global-batch", "1024")


@pytest.fixture(scope="module")
def document() -> dict:
    done = call("plan", *MAIN, "--tokens", "15T", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def schema() -> dict:
    return json.loads(call("planner", "schema").stdout)


def test_the_document_matches_its_published_schema(document: dict, schema: dict) -> None:
    validate_document(document, schema)
    assert document["schema_version"] in schema["title"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "mixtral-8x7b", "-c", "gb200-nvl72", "--nodes", "4", "-b", "64", "--precision", "fp8"),
        ("plan", "t5-11b", "-c", "tpu-v4", "-b", "64", "--zero", "3", "--vpp", "1"),
        ("planner", "estimate", "llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "8", "--tp", "8"),
    ],
)
def test_other_documents_match_the_schema_too(arguments: tuple[str, ...], schema: dict) -> None:
    done = call(*arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    validate_document(json.loads(done.stdout), schema)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema_version",), "1.0"),
        (("extra",), 1),
        (("model", "layers"), 0),
        (("search", "cut_by", "luck"), 3),
        (("search", "feasible"), -1),
        (("plans", 0, "terms", "backward"), -1.0),
        (("plans", 0, "terms", "rest"), 0.0),
        (("plans", 0, "hidden", "forward"), 0.0),
        (("plans", 0, "strategy", "tp"), 0),
        (("plans", 0, "strategy", "zero_stage"), 4),
        (("training", "framework"), "other"),
        (("plans",), []),
    ],
)
def test_the_schema_is_strict(path: tuple[str | int, ...], value: object, document: dict, schema: dict) -> None:
    changed = copy.deepcopy(document)
    *parents, last = path
    part = changed
    for key in parents:
        part = part[key]
    part[last] = value
    with pytest.raises(jsonschema.ValidationError):
        validate_document(changed, schema)


def test_every_term_is_required(document: dict, schema: dict) -> None:
    changed = copy.deepcopy(document)
    del changed["plans"][0]["terms"]["optimizer"]
    with pytest.raises(jsonschema.ValidationError):
        validate_document(changed, schema)


def test_the_document_keeps_its_contract(document: dict) -> None:
    assert document["cluster"]["devices"] == 512
    search, plans = document["search"], document["plans"]
    assert search["exact"] is True
    assert search["candidates"] == search["feasible"] + sum(search["cut_by"].values())
    assert len(plans) == 5
    first, *others = [p["step_time_s"] for p in plans]
    assert others == sorted(others)
    assert (
        search["excess"] == pytest.approx(max(0.0, first / others[0] - 1.0)) and search["excess"] <= search["within"]
    )
    for plan in plans:
        s, memory = plan["strategy"], plan["memory"]
        assert s["tp"] * s["pp"] * s["dp"] * s["cp"] == 512
        assert abs(sum(plan["terms"].values()) - plan["step_time_s"]) < 1e-9
        categories = [
            v for k, v in memory.items() if k.endswith("_bytes") and k not in ("total_bytes", "capacity_bytes")
        ]
        assert sum(categories) == pytest.approx(memory["total_bytes"], rel=1e-12)
        assert memory["total_bytes"] <= memory["capacity_bytes"]
        assert plan["tokens_per_s"] == pytest.approx(1024 * 8192 / plan["step_time_s"])
        assert 0.2 < plan["mfu"] <= plan["hfu"] < 0.9
        assert "faster" in plan["bottleneck"]
    run_ = document["run"]
    assert run_["tokens"] == 15_000_000_000_000
    assert run_["steps"] == -(-run_["tokens"] // (1024 * 8192))
    assert run_["days"] == pytest.approx(run_["steps"] * plans[0]["step_time_s"] / 86400)


def test_planner_plan_is_the_same_command() -> None:
    arguments = ("7B", "--cluster", "dgx-a100", "--nodes", "2", "--global-batch", "64", "--format", "json")
    assert call("plan", *arguments).stdout == call("planner", "plan", *arguments).stdout != ""


def test_estimate_agrees_with_the_search(document: dict) -> None:
    for plan in document["plans"]:
        s = plan["strategy"]
        parallel = "--sequence-parallel" if s["sequence_parallel"] else "--no-sequence-parallel"
        done = call(
            "planner", "estimate", *MAIN, "--tp", str(s["tp"]), "--pp", str(s["pp"]), "--dp", str(s["dp"]),
            "--cp", str(s["cp"]), "--vpp", str(s["vpp"]), "--micro-batch", str(s["micro_batch"]),
            "--zero", str(s["zero_stage"]), "--recompute", s["recompute"], parallel, "--format", "json",
        )  # fmt: skip
        assert json.loads(done.stdout)["plans"] == [plan]


def test_the_terminal_output_names_every_part_of_the_answer() -> None:
    done = call("plan", *MAIN, "--tokens", "15T")
    assert done.returncode == 0
    for part in ("tp", "pp", "dp", "cp", "vpp", "mbs", "ZeRO", "recompute", "SP", "MFU", "HFU", "tokens/s"):
        assert part in done.stdout
    for part in ("forward", "backward", "weights", "optimizer", "activations", "Bottleneck:", "days"):
        assert part in done.stdout
    assert "\x1b" not in done.stdout, "no colour when stdout is not a terminal"


def test_pins_and_ranges_are_kept() -> None:
    done = call("plan", *MAIN, "--tp", "4..8", "--pp", "2,4", "--recompute", "selective,full", "--format", "json")
    for plan in json.loads(done.stdout)["plans"]:
        assert plan["strategy"]["tp"] in (4, 8)
        assert plan["strategy"]["pp"] in (2, 4)
        assert plan["strategy"]["recompute"] in ("selective", "full")


def test_models_and_clusters_from_files(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(LAB.format(**DEFAULTS))
    config = Path(__file__).parents[1] / "fixtures/configs/llama-3-8b"
    by_folder = call("plan", str(config), "-c", "lab.toml", "-b", "128", "--format", "json", cwd=tmp_path)
    by_file = call(
        "plan", str(config / "config.json"), "-c", "lab.toml", "-b", "128", "--format", "json", cwd=tmp_path
    )
    assert by_folder.returncode == 0, by_folder.stderr
    assert by_folder.stdout == by_file.stdout
    assert json.loads(by_file.stdout)["model"]["parameters"] == 8_030_261_248


def test_a_bare_size_reports_the_chosen_shape() -> None:
    done = call("plan", "13B", "--cluster", "dgx-a100", "--nodes", "4", "--global-batch", "4M tokens")
    assert "shape chosen for the size" in done.stdout
    # 4 x 2^20 tokens of 2,048 or 4,096 a sequence, which the widths of 32 devices divide
    assert re.search(r"(2,048|1,024|512) sequences, 4,194,304 tokens", done.stdout)


def test_help_is_short_of_heavy_imports() -> None:
    import subprocess
    import sys

    # with every command of both programs: `--help` of all of them needs no more
    heavy = "{'numpy', 'networkx', 'rich', 'msgspec'}"
    code = (
        "import sys, typer, planner.cli.app as app; "
        "list(typer.main.get_command(app.build_planner_app()).commands.values()); app.build_plan_app(); "
        f"print({heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("listing", ["models", "clusters"])
def test_listings_name_every_preset(listing: str) -> None:
    from planner.hardware import database
    from planner.workload.presets import list_preset_names

    names = list_preset_names() if listing == "models" else database.list_database_names("clusters")
    out = call("planner", listing, "list").stdout
    for name in names:
        assert name in out


def test_mfu_names_its_peak_and_narrow_precisions_have_that_of_16_bits_too() -> None:
    pins = ("--tp", "2", "--pp", "1", "--zero", "1")
    on = ("llama-3-8b", "-c", "dgx-h100", "--nodes", "2", "-b", "64", *pins)
    peaks = {"bf16": 989.4e12, "fp8": 1978.9e12}
    for precision, peak in peaks.items():
        done = call("planner", "estimate", *on, "--precision", precision, "-f", "json")
        plan = json.loads(done.stdout)["plans"][0]
        assert plan["mfu"] * peak == pytest.approx(plan["mfu_bf16"] * peaks["bf16"], rel=1e-3)
        table = call("planner", "estimate", *on, "--precision", precision).stdout
        assert f"MFU {precision}" in table
        assert ("MFU bf16" in table and "MFU fp8" in table) == (precision == "fp8")
    done = call("planner", "estimate", *on, "--precision", "fp8", "--require", "mfu_bf16 > mfu")
    assert done.returncode == 0, done.stderr


def test_every_answer_names_the_peak_of_its_mfu(tmp_path: Path) -> None:
    on = ("llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "64", "--precision", "fp8")
    base, head = tmp_path / "base.json", tmp_path / "head.json"
    base.write_text(call("planner", "estimate", *on, "--tp", "4", "-f", "json").stdout)
    head.write_text(call("planner", "estimate", *on, "--tp", "8", "-f", "json").stdout)
    plans = tmp_path / "plans.toml"
    plans.write_text(
        '[[plans]]\nname = "a"\nmodel = "llama-3-8b"\ncluster = "dgx-h100"\nnodes = 1\nglobal_batch = 64\n'
        'precision = "fp8"\ntp = 8\npp = 1\n'
    )
    run = ("--tokens", "100B", "--deadline", "300d", "--precision", "fp8")
    for arguments, text in (
        (("explain", str(base)), "of the fp8 peak"),
        (("diff", str(base), str(head)), "mfu of fp8"),
        (("check", str(plans)), "% of fp8"),
        (("what-if", *on, "--tp", "8", "--set", "accelerator.price=1USD"), "MFU fp8"),
        (("size", "llama-3-8b", "-c", "dgx-h100", *run), "of the fp8 peak"),
        (("compare", "llama-3-8b", "--on", "dgx-h100:2", *run), "of fp8"),
    ):
        done = call("planner", *arguments)
        assert done.returncode == 0, (arguments, done.stderr)
        assert text in done.stdout, arguments[0]
