"""What commands refuse in a single message, each by its option, and rare requests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.run import call
from tests.examples import pools_file
from tests.sample import mark_full

WIRED = """
name = "w"
node = "dgx-h100"
[[hosts]]
name = "a[1-5]"
[[switches]]
name = "s"
[[links]]
ends = ["a[1-5]", "s"]
bandwidth = "400Gb/s"
cables = 8
"""
RESULTS = "x,y,ok,s\n1,2,true,a\n2,3,false,\n3,5,true,b\n"
CELLS = '{"x":1,"y":2,"ok":true,"s":"a"}\n{"x":2,"y":3,"ok":false,"s":null}\n{"x":3,"y":5,"ok":true,"s":"b"}\n'
ON = ("llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "64")
SINGLE_PLAN = (*ON, "--tp", "8", "--vpp", "1")
WIRE = ("plan", "llama-3-8b", "-c", "wired.toml", "-b", "64")

REFUSED: list[tuple[tuple[str, ...], list[str]]] = [
    (("size", *ON[:3], "--budget", "0.1USD"), ["--budget: out of range", "0.1USD", "from 1USD to 10TUSD"]),
    (
        ("size", "llama-3-8b", "-c", "pools.toml", "--budget", "1kUSD"),
        ["--cluster: the cluster is heterogeneous", "pools.toml"],
    ),
    (
        ("compare", "llama-3-8b", "--on", "pools.toml:4"),
        ["--on: the cluster is heterogeneous", "of equal nodes"],
    ),
    (
        ("plan", "llama-3-8b", "-c", "perlmutter:9999+dgx-h100:1", "-b", "8"),
        ["perlmutter is not built larger"],
    ),
    ((*WIRE, "--nodes", "2", "--devices", "16"), ["--nodes, --devices: conflicting options"]),
    ((*WIRE, "--devices", "12"), ["--devices: not a whole number of nodes", "a multiple of 8, up to 40"]),
    (("plan", *ON[:3], "--nodes", "16777216", "-b", "8"), ["--nodes: more devices than can be planned"]),
    (("estimate", *ON[:-1], "8..16"), ["--global-batch: a plan has a single batch", "8..16"]),
    (
        ("estimate", *ON, "--schedule", "1f1b,zero-bubble"),
        ["--schedule: a single plan has a single value of each option"],
    ),
    (
        ("plan", "llama-3-8b", "-c", "dgx-h100:1+dgx-a100:1", "-b", "8..16"),
        ["a heterogeneous cluster is balanced for a single batch"],
    ),
    (("export", "plan.json", "--to", "megatron-lm", "--with", "9=x"), ["--with: not a name with a value", "9=x"]),
    (("export", "plan.json", "--to", "megatron-lm", "--with", "zone=x"), ["--with: needs a launcher", "--launcher"]),
    (
        ("export", "lora.json", "--to", "megatron-lm"),
        ["techniques: export does not support techniques", "LoRA of rank 16"],
    ),
    (("export", "plan.json", "--to", "megatron-lm", "-o", "made"), ["--output: exists already", "--force"]),
    (("explain", "plan.json", "--trace", "t.json", "--plan", "9"), ["--plan"]),
    (("plot", "results.csv", "--x", "x", "--y", "y", "--where", "x > b"), ["--where: not a number"]),
    (("cluster", "import", "wired.toml", "--link-bandwidth", "1B/s"), ["--link-bandwidth: out of range", "1MB/s"]),
    (("sweep", "sweep.toml", "-o", "folder.csv"), ["--output: is a folder"]),
    (
        ("plan", *ON, "--tp", "3,5,7,9,11,13,17"),
        ["--tp: no candidate can have this value", "3,5,...,17", "one of 1, 2, 4, 8"],
    ),
    (
        ("plan", *ON, "--tp", "1", "--sequence-parallel"),
        ["--tp, --sequence-parallel: conflict with each other", "1, yes"],
    ),
    (("plan", *ON, "--space", "twice.toml"), ["twice.toml", "set twice"]),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that the commands name."""
    folder = tmp_path_factory.mktemp("refused")
    texts = {
        "wired.toml": WIRED,
        "pools.toml": pools_file(),
        "results.csv": RESULTS,
        "results.jsonl": CELLS,
        "sweep.toml": '[grid]\nmodel = "bert-base"\ncluster = "dgx-a100"\nglobal_batch = 64\n',
        "twice.toml": "micro-batch = 1\nmicro_batch = 2\n",
        "plan.json": call("plan", *SINGLE_PLAN, "-f", "json").stdout,
        "lora.json": call("plan", *SINGLE_PLAN, "--lora", "16", "-f", "json").stdout,
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "folder.csv").mkdir()
    (folder / "made").mkdir()
    (folder / "made" / "train.sh").write_text("mine")
    return folder


@pytest.mark.parametrize(("arguments", "messages"), REFUSED, ids=[" ".join(case[0])[:70] for case in REFUSED])
def test_the_command_is_refused(arguments: tuple[str, ...], messages: list[str], folder: Path) -> None:
    done = call("planner", *arguments, cwd=folder)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    for part in messages:
        assert part in done.stderr
    assert (folder / "made" / "train.sh").read_text() == "mine"


REQUIRED = [
    ("not (mfu > 1%)", "(mfu > 1%) is true (mfu is "),
    ("mfu + 1 > 2 or -mfu > 3%", "required more than 2"),
    ("memory.headroom - 1GiB > 70GiB", "memory.headroom - "),
]


@pytest.mark.parametrize(("require", "message"), REQUIRED)
def test_an_unmet_requirement_is_reported_in_figures(require: str, message: str) -> None:
    done = call("plan", *SINGLE_PLAN, "--require", require)
    assert done.returncode == 4
    assert f"requirement not met: {require}\n" in done.stderr
    assert message in done.stderr


WHERE = [("s == a", 1), ("s != a", 2), ("ok == yes", 2), ("ok = no", 1), ("ok == maybe", 0), ("x >= 2", 2)]


@pytest.mark.parametrize(("where", "points"), WHERE)
def test_rows_are_kept_by_their_cells(where: str, points: int, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "plot.svg"
    drawn = ("planner", "plot", "results.jsonl", "--x", "x", "--y", "y", "-o", str(file))
    done = call(*drawn, "--where", where, cwd=folder)
    assert done.returncode == (0 if points else 2), done.stderr
    assert file.exists() == bool(points)
    assert not points or file.read_text().count("</title></path>") == points


def test_a_plot_is_a_text_file_too(folder: Path, tmp_path: Path) -> None:
    arguments = ("planner", "plot", "results.csv", "--x", "x", "--y", "y", "--by", "ok")
    assert call(*arguments, "-o", str(tmp_path / "plot.txt"), cwd=folder).returncode == 0
    assert "y over x by ok" in (tmp_path / "plot.txt").read_text()


PARETO = [
    ("cost,memory-headroom", ["USD/M tokens", " free"]),
    ("energy,memory-headroom", ["J/token"]),
    ("tokens-per-s-per-device,memory-headroom", ["tokens/s/device", " free"]),
]


@pytest.mark.parametrize(("objectives", "messages"), mark_full(PARETO, every=3))
def test_a_front_is_drawn_in_its_objectives(objectives: str, messages: list[str], tmp_path: Path) -> None:
    file = tmp_path / "front.html"
    done = call("plan", *ON, "--vpp", "1", "--pareto", objectives, "-o", str(file))
    assert done.returncode == 0, done.stderr
    drawing = " ".join(re.findall(r"<svg.*?</svg>", file.read_text(), re.DOTALL))
    for words in messages:
        assert words in drawing
