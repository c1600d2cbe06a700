"""A sweep's file: which points it has, and what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.cli.sweeps.grid import Sweep, list_point_files, read_sweep
from planner.errors import InputError
from tests.cli.run import call
from tests.cli.sweeps.small import run_sweep, write_sweep

HEAD = '[grid]\nmodel = "bert-base"\ncluster = "dgx-a100"\nglobal_batch = 64\n'


def _read(folder: Path, text: str) -> Sweep:
    return read_sweep(write_sweep(folder, text))


def test_the_last_key_runs_fastest_and_grids_follow_each_other(tmp_path: Path) -> None:
    text = """
    fixed = { cluster = "dgx-a100", global-batch = 64 }
    [[grid]]
    model = ["bert-base", "bert-large"]
    nodes = { from = 1, to = 8, factor = 2 }
    [[grid]]
    model = ["bert-large"]
    nodes = [8, 16]
    tp = [[1, 2], "4..8"]
    """
    sweep = _read(tmp_path, text)
    assert sweep.keys == ("model", "nodes", "cluster", "global_batch", "tp")
    points = [(point["model"], point["nodes"], point.get("tp")) for point in sweep.points]
    assert points[:8] == [(model, nodes, None) for model in ("bert-base", "bert-large") for nodes in (1, 2, 4, 8)]
    assert points[8:] == [("bert-large", nodes, tp) for nodes in (8, 16) for tp in ([1, 2], "4..8")]


@given(
    first=st.integers(1, 50),
    more=st.integers(0, 50),
    step=st.integers(1, 20),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5, unique=True),
)
def test_a_grid_has_the_product_of_its_values(
    first: int, more: int, step: int, sizes: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = f"{HEAD}nodes = {{ from = {first}, to = {first + more}, step = {step} }}\ndp = {sizes}"
    sweep = _read(tmp_path_factory.mktemp("grid"), text)
    there = [(point["nodes"], point["dp"]) for point in sweep.points]
    assert there == [(nodes, dp) for nodes in range(first, first + more + 1, step) for dp in sizes]


def test_equal_points_are_planned_once(tmp_path: Path) -> None:
    sweep = _read(
        tmp_path, HEAD.replace("[grid]", "[[grid]]") + HEAD.replace("[grid]", "[[grid]]") + "nodes = [1, 1]"
    )
    assert len(sweep.points) == 2


def test_points_that_match_all_keys_of_a_rule_are_left_out(tmp_path: Path) -> None:
    text = f"{HEAD}nodes = [1, 2, 3]\ntp = [1, 2]\n[[exclude]]\nnodes = [1, 3]\ntp = 2\n[[exclude]]\nnodes = 2\n"
    assert [(point["nodes"], point["tp"]) for point in _read(tmp_path, text).points] == [(1, 1), (3, 1)]


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("[fixed]\nmodel = 'bert-base'", ["grid: is missing"]),
        (HEAD + "[gird]\nx = 1", ["gird: unknown key", "did you mean grid?"]),
        (HEAD + "noeds = [1]", ["grid.noeds: unknown key", "did you mean nodes?"]),
        (HEAD + "[fixed]\nglobal_bacth = 2", ["fixed.global_bacth: unknown key", "did you mean global_batch?"]),
        (HEAD + "top = [1, 2]", ["grid.top: cannot be swept"]),
        (HEAD + "nodes = []", ["grid.nodes: has no values"]),
        (HEAD + "nodes = [1979-05-27]", ["grid.nodes: wrong type"]),
        (HEAD + "nodes = [[1, [2]]]", ["grid.nodes: wrong type"]),
        (HEAD + "nodes = { from = 4, to = 2 }", ["grid.nodes: not a range"]),
        (HEAD + "nodes = { from = 1, to = 8, factor = 1 }", ["grid.nodes: not a range"]),
        (HEAD + "nodes = { from = 1, to = 8, stop = 1 }", ["grid.nodes: not a range"]),
        (HEAD + "nodes = { from = 1, to = 900_000_000 }", ["grid.nodes: not a range"]),
        (HEAD + "nodes = { from = 1, to = 600 }\nseq_length = { from = 1, to = 600 }", ["grid: too many points"]),
        (HEAD.replace("global_batch = 64\n", ""), ["grid.global_batch: is missing"]),
        (
            HEAD + "nodes = [1, 2]\n[[exclude]]\nnodes = 3",
            ["exclude[1].nodes: no point has this value", "one of 1, 2"],
        ),
        (HEAD + "nodes = [1, 2]\n[[exclude]]\ntp = 3", ["exclude[1].tp: is not swept"]),
        (HEAD + 'require = "mfu >= 40%"', ["grid.require: cannot be swept"]),
        (HEAD + "nodes = [1, 2]\n[exclude]\nnodes = [1, 2]", ["exclude: no point is left"]),
        (HEAD + "nodes = 1\n[exclude]\n", ["exclude: is empty"]),
        ("grid = 3", ["grid: wrong type"]),
        ("grid = [3]", ["grid[1]: wrong type"]),
        (HEAD + "seq-length = 8\nseq_length = 9", ["grid: a key is set twice"]),
        ("", ["is empty"]),
    ],
)
def test_meaningless_grids_are_refused_with_their_place(text: str, messages: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        _read(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "sweep.toml"))
    for part in messages:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("more", "messages"),
    [
        ('framework = ["fsdp2", "megatro"]', ["grid.framework: unknown value", "did you mean megatron?"]),
        ('recompute = ["none", "ful"]', ["grid.recompute: unknown value", "value:    ful", "did you mean full?"]),
        ("nodes = [1, -1]", ["grid.nodes: out of range", "value:    -1"]),
        ('precision = ["bf17"]', ["grid.precision", "did you mean bf16?"]),
        ('[fixed]\ntokens = "many"', ["fixed.tokens: not a count"]),
        ("sequence_parallel = [1]", ["grid.sequence_parallel: unknown value", "no, yes"]),
        ("nodes = [1]\ndevices = [8]", ["--nodes"]),
        ('lora = ["x"]', ["grid.lora: not a count"]),
        ('space = ["nowhere.toml"]', ["nowhere.toml: there is no such file"]),
    ],
)
def test_an_infeasible_value_is_refused_before_any_point_runs(more: str, messages: list[str], tmp_path: Path) -> None:
    output = tmp_path / "results.csv"
    done = call("planner", "sweep", str(write_sweep(tmp_path, HEAD + more)), "-o", str(output))
    assert done.returncode == 2
    for part in messages:
        assert part in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.toml"]


@pytest.mark.parametrize(
    ("old", "new", "messages"),
    [
        ('"bert-base"', '["bert-base", "bert-lagre"]', ["grid.model: unknown model", "did you mean bert-large?"]),
        ('"dgx-a100"', '["dgx-a100", "dgx-a10"]', ["grid.cluster", "did you mean dgx-a100?"]),
        ("64", '[64, "4 tokkens"]', ["grid.global_batch: not a count"]),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_name(
    old: str, new: str, messages: list[str], tmp_path: Path
) -> None:
    done = call("planner", "sweep", str(write_sweep(tmp_path, HEAD.replace(old, new))), "-o", str(tmp_path / "x.csv"))
    assert done.returncode == 2
    for part in messages:
        assert part in done.stderr


def test_a_value_that_some_points_can_have_is_not_refused(tmp_path: Path) -> None:
    head = HEAD.replace("64", '["64", "128 tokens"]')
    rows = run_sweep(tmp_path, f"{head}nodes = 1\nseq_length = [512, 16]\ntp = 1\ncp = 1\npp = 1\n")
    assert [(row["global_batch"], row["seq_length"], row["status"]) for row in rows] == [
        ("64", 512, "planned"),
        ("64", 16, "planned"),
        ("128 tokens", 512, "bad input"),
        ("128 tokens", 16, "planned"),
    ]


def test_warnings_of_plan_are_printed_once(tmp_path: Path) -> None:
    text = HEAD.replace("64", '"2K"') + "nodes = 1\ntp = [1, 2]\n"
    done = call("planner", "sweep", str(write_sweep(tmp_path, text)), "-o", str(tmp_path / "results.csv"))
    assert done.stderr.count("warning: ") == done.stderr.count("2K is 2,048 sequences: rounded") == 1


def test_files_are_those_that_points_name_without_presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("bert-base", "mine.toml", "fabric.toml"):
        Path(name).write_text("")
    point = {"model": "mine.toml", "cluster": "fabric.toml", "distil": "bert-base", "framework": "mine.toml"}
    assert list_point_files(point) == {"model": "mine.toml", "cluster": "fabric.toml"}
