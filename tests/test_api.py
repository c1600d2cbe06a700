"""The Python interface returns the same documents as the commands."""

from __future__ import annotations

import json
import textwrap
import warnings
from dataclasses import fields
from pathlib import Path

import msgspec
import numpy as np
import pytest

import planner
import planner.api
from planner.api import EstimateOptions, PlanOptions
from planner.request.options import SCENARIO_FIELDS, list_option_keys, list_options
from planner.request.plan_request import PlanRequest
from tests.cli.run import call
from tests.examples import DEFAULTS, LAB

ON = ("llama-3-8b", "--cluster", "dgx-h100", "--nodes", "2", "--global-batch", "64")


def to_json(document: msgspec.Struct) -> object:
    return json.loads(msgspec.json.encode(document))


def test_plan_returns_the_document_of_the_command() -> None:
    document = planner.plan(
        "llama-3-8b", "dgx-h100", 64, nodes=2, tp=[2, 4], pp="1..2", micro_batch=1, failures=False, tokens="1T"
    )
    printed = call(
        "plan",
        *ON,
        *["--tp", "2,4", "--pp", "1..2", "--micro-batch", "1", "--no-failures", "--tokens", "1T", "-f", "json"],
    )
    assert to_json(document) == json.loads(printed.stdout)


def test_estimate_returns_the_document_of_the_command() -> None:
    document = planner.estimate(
        "llama-3-8b", "dgx-h100", "64", nodes=2, tp=8, sequence_parallel=True, gradients="bf16"
    )
    printed = call(
        "planner", "estimate", *ON, *["--tp", "8", "--sequence-parallel", "--gradients", "bf16", "-f", "json"]
    )
    assert to_json(document) == json.loads(printed.stdout)


def test_the_example_of_the_docstring_runs(capsys: pytest.CaptureFixture[str]) -> None:
    example = (planner.api.__doc__ or "").partition("\n\n")[2].partition("\n\nOptions")[0]
    exec(textwrap.dedent(example), {})
    assert capsys.readouterr().out.startswith("StrategyPart(")


def test_files_are_given_as_paths(tmp_path: Path) -> None:
    lab = tmp_path / "lab.toml"
    lab.write_text(LAB.format(**DEFAULTS))
    document = planner.plan("1B", lab, 8, fault=["node-0:0=0.5", "node-1:0"])
    assert document.cluster.nodes == 4


@pytest.mark.parametrize(
    ("options", "key", "part"),
    [
        ({"noeds": 2}, "noeds", "did you mean nodes?"),
        ({"nodes": 0}, "--nodes", "0"),
        ({"framework": "megatro"}, "--framework", "did you mean megatron?"),
        ({"tp": {"a": 1}}, "tp", "wrong type"),
        ({"format": "json"}, "format", "unknown key"),
        ({"tp": []}, "tp", "an empty list"),
        ({"tp": object()}, "tp", "wrong type"),
    ],
)
def test_wrong_options_are_raised_with_their_key(options: dict, key: str, part: str) -> None:
    with pytest.raises(planner.InputError) as caught:
        planner.plan("llama-3-8b", "dgx-h100", 64, **options)
    assert caught.value.key == key
    assert part in str(caught.value)


def test_numbers_and_sequences_of_any_type_are_read() -> None:
    plain = planner.plan("llama-3-8b", "dgx-h100", 64, nodes=1, tp=[1, 2], tokens=10**12)
    assert (
        planner.plan("llama-3-8b", "dgx-h100", np.int64(64), nodes=np.int32(1), tp=range(1, 3), tokens=1e12) == plain
    )
    assert planner.plan("llama-3-8b", "dgx-h100", 64, nodes=1, tp=np.array([1, 2]), tokens=np.float64(1e12)) == plain


def test_where_no_plan_fits_an_exception_is_raised() -> None:
    with pytest.raises(planner.NothingFits, match="no plan fits"):
        planner.plan("llama-3.1-405b", "dgx-h100", 64, nodes=1)


def test_warnings_are_python_warnings() -> None:
    with pytest.warns(UserWarning, match="are proportional|has no effect"):
        planner.plan("llama-3-8b", "dgx-h100", 64, nodes=1, pareto=["step-time", "cost"], micro_batch=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        planner.plan("llama-3-8b", "dgx-h100", 64, nodes=1, micro_batch=1)


def test_typed_options_are_those_of_the_commands() -> None:
    required = {"model", "cluster", "global_batch"}
    for options, command in ((PlanOptions, "plan"), (EstimateOptions, "estimate")):
        assert set(options.__annotations__) == set(list_option_keys(command)) - required
        others = {option.name for option in list_options(command) if option.in_answer and not option.in_space}
        others -= {"framework", *SCENARIO_FIELDS}  # the first is read as `trainer`
        assert others <= {field.name for field in fields(PlanRequest)}


def test_the_package_exports_exactly_its_public_names() -> None:
    assert set(dir(planner)) == set(planner.__all__)
    with pytest.raises(AttributeError):
        _ = planner.nothing


def test_layers_of_prediction_and_graphs_are_the_same_from_python_and_the_command_line() -> None:
    document = planner.estimate("llama-3-8b", "dgx-h100", 64, nodes=2, tp=8, mtp_layers=1, launch="graph:mlp+attn")
    assert (document.model.mtp_layers, document.scenario.launch) == (1, "graph:attn+mlp")
    options = ("--tp", "8", "--mtp-layers", "1", "--launch", "graph:attn+mlp", "-f", "json")
    assert to_json(document) == json.loads(call("planner", "estimate", *ON, *options).stdout)
    plain = planner.estimate("llama-3-8b", "dgx-h100", 64, nodes=2, tp=8, launch="graph:attn+mlp")
    assert plain.plans[0].step_time_s < document.plans[0].step_time_s
