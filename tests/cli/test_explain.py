"""`planner explain`, from a plan document to its reports and its trace."""

import itertools
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from planner.cost.scenario import Scenario
from planner.cost.step import StepCosts, compute_step_costs
from planner.cost.strategies import Strategies
from planner.studies import explain
from tests.cli.run import call
from tests.schemas import validate_document

ARGUMENTS = ("llama-3-8b", "--cluster", "dgx-h100", "--nodes", "2", "--global-batch", "128")


@pytest.fixture(scope="module")
def plan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("plans") / "plan.json"
    file.write_text(call("plan", *ARGUMENTS, "--pp", "2..4", "--format", "json").stdout)
    return file


@pytest.fixture(scope="module")
def document(plan_file: Path) -> dict[str, object]:
    return dict(json.loads(call("planner", "explain", str(plan_file), "--format", "json").stdout))


def test_the_document_follows_its_schema_and_adds_up(plan_file: Path, document: dict[str, object]) -> None:
    validate_document(document, json.loads(call("planner", "schema", "explain").stdout))
    plan = json.loads(plan_file.read_text())["plans"][0]
    parts = {part["name"]: part["seconds"] for part in document["waterfall"]}  # type: ignore[attr-defined]
    assert sum(parts.values()) == pytest.approx(plan["step_time_s"], rel=1e-9)
    assert parts["pipeline_bubble"] == plan["terms"]["pipeline_bubble"]
    worst_stage_bytes = max(stage["memory"]["total_bytes"] for stage in document["stages"])  # type: ignore[attr-defined]
    assert worst_stage_bytes == pytest.approx(plan["memory"]["total_bytes"], rel=1e-12)


def test_the_plan_is_scored_once(plan_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[int] = []

    def count(scenario: Scenario, s: Strategies) -> StepCosts:
        scored.append(scenario.global_batch)
        return compute_step_costs(scenario, s)

    monkeypatch.setattr(explain, "compute_step_costs", count)
    assert call("planner", "explain", str(plan_file)).returncode == 0
    assert scored == [128]


def test_each_collective_has_the_algorithm_that_is_the_fastest_for_it(tmp_path: Path) -> None:
    def explain(model: str, *pins: str) -> set[tuple[str, str, int, str]]:
        on = (model, "-c", "dgx-h100", "--nodes", "4", "-b", "64", "--pp", "1", "--vpp", "1", "--micro-batch", "1")
        (tmp_path / "plan.json").write_text(call("planner", "estimate", *on, *pins, "-f", "json").stdout)
        done = call("planner", "explain", "plan.json", "-f", "json", cwd=tmp_path)
        parts = json.loads(done.stdout)["collectives"]
        assert all(part["seconds"] > 0 and part["protocol"] in ("LL", "LL128", "Simple") for part in parts)
        return {(part["axis"], part["collective"], part["ranks"], part["algorithm"]) for part in parts}

    # a small model between nodes, without sharding; NVSwitches add what tensor-parallel ranks reduce
    assert explain("llama-3-8b", "--tp", "8", "--no-sequence-parallel", "--zero", "0") == {
        ("tensor", "all-reduce", 8, "in-network"),
        ("data", "all-reduce", 4, "ring"),
    }
    assert explain("mixtral-8x7b", "--tp", "4", "--sequence-parallel", "--etp", "1", "--ep", "8", "--zero", "1") == {
        ("tensor", "all-gather", 4, "ring"),
        ("expert", "all-to-all", 8, "pairwise"),
        ("data", "all-gather", 8, "ring"),
        ("data", "reduce-scatter", 8, "ring"),
        ("expert data", "all-gather", 4, "ring"),
        ("expert data", "reduce-scatter", 4, "ring"),
    }
    groups = explain("llama-3-8b", "--tp", "2", "--zero", "3", "--shard-group", "8", "--trainer", "torchtitan")
    assert {group[:3] for group in groups if group[0] == "data"} == {
        ("data", "all-gather", 8),
        ("data", "reduce-scatter", 8),
        ("data", "all-reduce", 2),
    }


def test_the_text_is_plain_and_its_tables_are_no_wider_than_a_page(plan_file: Path) -> None:
    text = call("planner", "explain", str(plan_file)).stdout
    assert text.replace("─", "-").isascii()
    tables, _, sentences = text.partition("Bottleneck: ")
    assert max(map(len, tables.splitlines())) <= 120
    assert len(sentences.splitlines()) == 3
    assert re.search(r"^model's FLOPs at the peak +\S+ m?s +[0-9.]+%  #+$", text, re.MULTILINE)
    assert re.search(r"^step +\S+ m?s +100.0%  #{30}$", text, re.MULTILINE)


def test_the_page_stands_alone(plan_file: Path, tmp_path: Path) -> None:
    page = tmp_path / "why.html"
    assert call("planner", "explain", str(plan_file), "-o", str(page)).returncode == 0
    text = page.read_text()
    assert "width=device-width" in text
    assert not re.search(r"(src|href)=|url\(|<script|@import", text)
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawings) == 4
    waterfall, memory, moments, roofline = (ElementTree.fromstring(drawing) for drawing in drawings)
    svg = "{http://www.w3.org/2000/svg}"
    for drawing, words in (
        (waterfall, {"model's FLOPs at the peak", "step", "part"}),
        (memory, {"weights", "activations", "stage", "memory per device, GiB"}),
        (moments, {"optimizer step", "moment", "memory per device, GiB"}),
        (roofline, {"arithmetic intensity, FLOP/B", "achieved rate, TFLOP/s", "peak 989.4 TFLOP/s"}),
    ):
        assert drawing.attrib["viewBox"].split()[2] == "360"
        assert words <= {element.text for element in drawing.iter(f"{svg}text")}
    assert len([element for element in roofline.iter(f"{svg}path") if element.find(f"{svg}title") is not None]) >= 5


def read_events(file: Path) -> list[dict[str, object]]:
    return list(json.loads(file.read_text())["traceEvents"])


@pytest.mark.parametrize("ranks", ["stages", "all"])
def test_a_trace_has_whole_events_that_do_not_overlap(plan_file: Path, tmp_path: Path, ranks: str) -> None:
    file = tmp_path / "step.json"
    done = call("planner", "explain", str(plan_file), "--trace", str(file), "--ranks", ranks)
    assert done.returncode == 0
    plan, events = json.loads(plan_file.read_text())["plans"][0], read_events(file)
    assert len({event["pid"] for event in events}) == (16 if ranks == "all" else plan["strategy"]["pp"])
    threads: dict[tuple[object, object], list[tuple[int, int]]] = {}
    for event in events:
        assert set(event) <= {"name", "ph", "ts", "dur", "pid", "tid", "args"}
        assert event["ph"] in ("X", "M")
        if event["ph"] == "X":
            start, length = (round(1000 * event[key]) for key in ("ts", "dur"))  # type: ignore[operator]
            assert start >= 0
            assert length > 0
            threads.setdefault((event["pid"], event["tid"]), []).append((start, start + length))
    for spans in threads.values():
        spans.sort()
        assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans))
    named = {(e["pid"], e["tid"]) for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    assert set(threads) <= named
    end = max(span[1] for spans in threads.values() for span in spans) / 1e9
    if not done.stderr:
        assert end == pytest.approx(plan["step_time_s"], rel=0.03)


def test_a_trace_is_the_same_each_time_and_bounded(tmp_path: Path) -> None:
    plan, first, second = (tmp_path / name for name in ("plan.json", "one.json", "other.json"))
    arguments = (*ARGUMENTS[:-1], "2048", "--tp", "4", "--pp", "4", "--micro-batch", "1", "--recompute", "full")
    plan.write_text(call("planner", "estimate", *arguments, "--format", "json").stdout)
    done = call("planner", "explain", str(plan), "--trace", str(first))
    assert done.stderr == f"warning: {first}: 64 of 2,048 micro-batches are drawn\n"
    call("planner", "explain", str(plan), "--trace", str(second))
    assert first.read_bytes() == second.read_bytes()


def write_changed(plan_file: Path, tmp_path: Path, old: str, new: str) -> Path:
    file = tmp_path / "changed.json"
    file.write_text(re.sub(old, new, plan_file.read_text(), count=1))
    return file


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (r'"step_time_s": [0-9.]+', '"step_time_s": 1.5', "the step time differs"),
        (r'"schema_version": "[0-9.]+"', '"schema_version": "0.9"', "unsupported version"),
        (r'"name": "llama-3-8b"', '"name": "mine"', "--model PATH"),
        (r'"name": "dgx-h100"', '"name": "lab"', "--cluster PATH"),
        (r'"plans"', '"plan"', "not a plan document"),
        (r'"pp": [0-9]+', '"pp": "four"', "plans[0].strategy.pp"),
        (r"\}\s*$", "", "not valid JSON"),
    ],
)
def test_missing_keys_of_a_document_are_reported(
    plan_file: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    done = call("planner", "explain", str(write_changed(plan_file, tmp_path, old, new)))
    assert done.returncode == 2
    assert message in done.stderr
    assert not done.stdout


def test_wrong_options_are_reported_and_no_file_is_written(plan_file: Path, tmp_path: Path) -> None:
    for options in (("--plan", "9"), ("-o", "why.pdf"), ("--model", "llama-3-70b"), ("--cluster", "dgx-a100")):
        done = call("planner", "explain", str(plan_file), *options, "--trace", str(tmp_path / "t.json"))
        assert done.returncode == 2, options
        assert options[0].replace("-o", "--output") in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_model_of_a_file_and_other_settings_are_restored(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "planner/workload/models/llama-3-8b.toml"
    model, plan = tmp_path / "mine.toml", tmp_path / "plan.json"
    model.write_text(source.read_text().replace('name = "llama-3-8b"', 'name = "mine"'))
    options = ("--tp", "8", "--dp", "2", "--gradients", "bf16", "--cp-exchange", "all-gather", "--lora", "16")
    result = call("plan", str(model), *ARGUMENTS[1:], *options, "--tp-overlap", "yes", "--format", "json")
    plan.write_text(result.stdout)
    assert call("planner", "explain", str(plan), "--model", str(model), "--lora", "16").returncode == 0
    without = call("planner", "explain", str(plan), "--model", str(model))
    assert without.returncode == 2
    assert "LoRA of rank 16" in without.stderr


@pytest.mark.parametrize(
    ("part", "name", "value", "message"),
    [
        ("strategy", "tp", 10**30, "plans[0].strategy: does not match the number of devices"),
        ("strategy", "pp", 16, "plans[0].strategy: does not match the number of devices"),
        ("strategy", "ep", 10**30, "plans[0].strategy.ep: out of range"),
        ("strategy", "micro_batch", 10**30, "plans[0].strategy.micro_batch: out of range"),
        ("strategy", "vpp", 99, "plans[0].strategy.vpp: out of range"),
        ("settings", "order", "tp", "plans[0].settings.order: unknown rank order"),
    ],
)
def test_an_impossible_plan_is_reported(
    part: str, name: str, value: object, message: str, plan_file: Path, tmp_path: Path
) -> None:
    document = json.loads(plan_file.read_text())
    document["plans"][0][part][name] = value
    file = tmp_path / "changed.json"
    file.write_text(json.dumps(document))
    done = call("planner", "explain", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"changed.json: {message}" in done.stderr


def test_a_plan_without_a_lost_host_is_explained_with_the_same_failed_part(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    on = ("llama-3-8b", "--cluster", "dgx-h100", "--nodes", "4", "--global-batch", "96", "--tp", "8", "--pp", "1")
    file.write_text(call("plan", *on, "--fault", "node-3", "--format", "json").stdout)
    done = call("planner", "explain", str(file), "--fault", "node-3")
    assert done.returncode == 0, done.stderr
    assert "on 24 h100-sxm-80gb" in done.stdout
    bare = call("planner", "explain", str(file))
    assert bare.returncode == 2
    assert "plan.json: placement" in bare.stderr
    assert "--fault" in bare.stderr


def test_some_hosts_of_a_wired_cluster_are_explained(tmp_path: Path) -> None:
    cluster, file = tmp_path / "wired.toml", tmp_path / "plan.json"
    cluster.write_text(
        'name = "w"\nnode = "dgx-h100"\n[[hosts]]\nname = "a[1-5]"\n[[switches]]\nname = "s"\n'
        '[[links]]\nends = ["a[1-5]", "s"]\nbandwidth = "400Gb/s"\ncables = 8\n'
    )
    on = ("llama-3-8b", "--cluster", str(cluster), "--nodes", "3", "--global-batch", "96", "--tp", "8", "--pp", "1")
    file.write_text(call("plan", *on, "--format", "json").stdout)
    done = call("planner", "explain", str(file), "--cluster", str(cluster))
    assert done.returncode == 0, done.stderr


def test_a_size_that_cannot_be_is_reported_with_its_file_and_key(plan_file: Path, tmp_path: Path) -> None:
    changed = json.loads(plan_file.read_text())
    changed["cluster"]["devices"] = 10**15
    file = tmp_path / "huge.json"
    file.write_text(json.dumps(changed))
    done = call("planner", "explain", str(file))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {file}: cluster.devices: ")
    assert str(10**15) in done.stderr
