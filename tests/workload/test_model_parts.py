"""The parts that `models show` prints add up to the model, and each operator is in the part that it is of."""

import json
import math

import pytest

from planner.cost.flops import compute_token_forward_flops
from planner.documents.model import ModelDocument, build_model_document
from planner.request.inputs import read_model_spec
from planner.workload.model_parts import enumerate_layers, find_part
from planner.workload.presets import list_hub_names, list_preset_names
from planner.workload.transformer import build_workload
from tests.cli.run import call
from tests.schemas import validate_document

NAMES = [*list_preset_names(), *list_hub_names()]
WITHOUT_A_PART = {"scales"}


def build_document(name: str, mtp_layers: int | None = None) -> ModelDocument:
    spec, note = read_model_spec(name, None, mtp_layers)
    return build_model_document(spec, build_workload(spec, note=note), "full")


def get_parameters(document: ModelDocument) -> dict[str, int]:
    return {str(part.name): part.parameters for part in document.parts}


@pytest.mark.parametrize("name", NAMES)
def test_parts_and_layers_add_up_to_the_model(name: str) -> None:
    document, workload = build_document(name), build_workload(read_model_spec(name, None)[0])
    flops = compute_token_forward_flops(workload, "full")
    assert document.parameters == workload.parameters
    for rows in (
        [(part.parameters, part.active_parameters, part.forward_flops) for part in document.parts],
        [
            (row.count * row.parameters, row.count * row.active_parameters, row.count * row.forward_flops)
            for row in document.layers
        ],
    ):
        assert sum(row[0] for row in rows) == workload.parameters
        assert sum(row[1] for row in rows) == workload.active_parameters
        assert math.fsum(row[2] for row in rows) == pytest.approx(flops, rel=1e-12)
    assert document.forward_flops == pytest.approx(flops, rel=1e-12)
    assert sum(run.count for run in document.order) == document.layer_count == workload.layer_count


def test_every_operator_of_a_transformer_has_a_part() -> None:
    for name in NAMES:
        workload = build_workload(read_model_spec(name, None)[0])
        if workload.spec is not None:
            left_over = {
                op.name
                for layer, _, whole in enumerate_layers(workload)
                for op in layer.operators
                if find_part(op, workload, whole) == "other"
            }
            assert left_over <= WITHOUT_A_PART, name


def test_parts_are_those_of_the_model_by_hand() -> None:
    hidden, layers, vocab, experts, width = 7168, 61, 129_280, 256, 2048
    parts = get_parameters(build_document("deepseek-v3"))
    assert parts["embedding"] == parts["head"] == vocab * hidden
    assert parts["experts"] == (layers - 3) * experts * 3 * hidden * width
    assert parts["shared experts"] == (layers - 3) * 3 * hidden * width
    assert parts["mlp"] == 3 * 3 * hidden * 18_432
    assert parts["norms"] == layers * (2 * hidden + 1536 + 512) + hidden
    assert "prediction" not in parts


def test_layers_of_multi_token_prediction_are_a_part_of_their_own() -> None:
    without, with_one = build_document("deepseek-v3", 0), build_document("deepseek-v3", 1)
    added = get_parameters(with_one)["prediction"]
    final_norm = with_one.parameters - without.parameters - added
    assert added > 256 * 3 * 7168 * 2048
    assert final_norm == 7168


def test_a_mixer_is_no_attention() -> None:
    mamba = get_parameters(build_document("state-spaces/mamba2-2.7b"))
    assert mamba["mixers"] > 0.9 * (sum(mamba.values()) - mamba["embedding"])
    assert "attention" not in mamba


def test_totals_are_those_of_plan() -> None:
    shown = json.loads(call("planner", "models", "show", "qwen3-30b-a3b", "-f", "json").stdout)
    schema = json.loads(call("planner", "schema", "model").stdout)
    validate_document(shown, schema)
    done = call("plan", "qwen3-30b-a3b", "-c", "dgx-h100", "--nodes", "2", "-b", "64", "-f", "json")
    plan = json.loads(done.stdout)
    for key in ("parameters", "active_parameters"):
        assert shown[key] == plan["model"][key]
    tokens = 64 * shown["seq_length"]
    assert 3 * tokens * shown["forward_flops"] == pytest.approx(plan["training"]["model_flops_per_step"])


def test_published_counts_say_whether_they_were_read() -> None:
    for name, confidence in (("openai-community/gpt2-xl", "recalled"), ("Qwen/Qwen3-8B", "read")):
        shown = json.loads(call("planner", "models", "show", name, "-f", "json").stdout)
        assert shown["published"]["confidence"] == confidence
        assert shown["published"]["parameters"] == shown["parameters"]


def test_an_unknown_model_is_an_error_of_one_message() -> None:
    done = call("planner", "models", "show", "lama-3-8b")
    assert done.returncode == 2
    assert "did you mean llama-3-8b?" in done.stderr
