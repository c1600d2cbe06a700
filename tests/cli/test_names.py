"""Names come from files and folders: whatever they hold, no command lets them steer the terminal."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.run import call
from tests.examples import DEFAULTS, LAB, WIRED
from tests.fuzz.hostile import UNSAFE
from tests.sample import mark_full

FIXTURES = Path(__file__).parents[1] / "fixtures"
EVIL = "e\x1b]0;owned\x07v\x1b[2Ji\x9bl\u202e\u2066\x7fx"
"""Sets a title, clears the screen, turns text around, deletes."""
QUIET = "e\x1bv\x9bl\u202e\x07x"
"""The same for names in formats where brackets and semicolons mean something."""
ON = ("--cluster", "dgx-a100", "--nodes", "1", "--global-batch", "64")
SINGLE_GPU = ("--tp", "1", "--pp", "1", "--zero", "1")
MODEL = """
name = "mine"
title = "Mine"
hidden_size = 512
layers = 4
heads = 8
ffn_size = 2048
vocab_size = 1000
seq_length = 256
"""
NETWORK = """
name = "net"
title = "Net"
input = [3, 32, 32]
[[layers]]
name = "block"
operators = [{ op = "batch_norm", name = "norm" }]
"""
LAB_TEXT = LAB.format(**DEFAULTS).replace("[node]", '[node]\nname = "lab-node"\ntitle = "Lab node"')
WIRED_TEXT = LAB_TEXT.partition("[[fabric]]")[0].replace("nodes = 4", "") + WIRED.format(up=800)


def is_harmless(text: str) -> bool:
    return all(sign.isprintable() or sign == "\n" for sign in text)


def check_refused(name: str, text: str, old: str, sign: str, folder: Path, *command: str) -> None:
    """A file with a control character, written as its format escapes it, is refused without showing it."""
    assert old in text
    (folder / name).write_text(text.replace(old, f'"a{json.dumps(sign)[1:-1]}b"'.replace("\x7f", "\\u007f"), 1))
    done = call("planner", *command[:1], *(str(folder / name) if part == "FILE" else part for part in command[1:]))
    assert done.returncode == 2, done.stdout
    assert is_harmless(done.stderr)
    assert "control character" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("sign", "old"),
    [(sign, '"mine"') for sign in UNSAFE]
    + [("\x1b", old) for old in ('"Mine"', '"net"', '"Net"', '"block"', '"norm"')],
    ids=ascii,
)
def test_a_model_s_names_hold_no_control_characters(sign: str, old: str, tmp_path: Path) -> None:
    text = MODEL if old in MODEL else NETWORK
    check_refused("mine.toml", text, old, sign, tmp_path, "plan", "FILE", *ON)


PLACES = {
    LAB_TEXT: ['"lab"', '"lab-node"', '"Lab node"', '"chip"', '"leaf"', '"spine"', '"300GB/s"'],
    WIRED_TEXT: ['"n[0-3]"', '"leaf[0-1]"', '"spine"', '"leaf0"', '"n[0-1]"'],
    'name = "a"\nnodes = 2\nnode = "dgx-h100"\n[[faults]]\npart = "node-0"\n': ['"node-0"', '"dgx-h100"'],
}


@pytest.mark.parametrize(("text", "old"), [(text, old) for text, places in PLACES.items() for old in places])
def test_a_cluster_s_names_hold_no_control_characters(text: str, old: str, tmp_path: Path) -> None:
    for sign in ("\x1b", "\u202e"):
        check_refused("lab.toml", text, old, sign, tmp_path, "topology", "FILE")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A model in a folder whose name is no good: a config.json is called as its folder is."""
    place = tmp_path / EVIL
    place.mkdir()
    shutil.copy(FIXTURES / "configs" / "bert-base-uncased" / "config.json", place)
    return str(place)


FORMS = ["table", "json", "jsonl", "csv", "markdown", "html", "junit"]
COMMANDS = {
    "plan": ("plan", "MODEL", *ON),
    "estimate": ("estimate", "MODEL", *ON, *SINGLE_GPU),
    "what-if": ("what-if", "MODEL", *ON, "--set", "accelerator.memory=+10%", *SINGLE_GPU),
    "size": ("size", "MODEL", "--cluster", "dgx-a100", "--tokens", "1B", "--deadline", "30d"),
    "compare": ("compare", "MODEL", "--on", "dgx-a100:1", "--on", "dgx-h100:1", "--tokens", "1B"),
    "plan of two pools": (
        "plan",
        "MODEL",
        "--cluster",
        "dgx-h100:1+dgx-a100:1",
        "--global-batch",
        "64",
        *SINGLE_GPU[:4],
    ),
}


@pytest.mark.parametrize(
    ("name", "form"),
    mark_full(
        [(name, form) for name in COMMANDS for form in (FORMS if name == "plan" else ("table", "markdown"))], every=4
    ),
)
def test_a_folder_s_name_is_shown_as_it_is_written(name: str, form: str, folder: str) -> None:
    done = call("planner", *(folder if part == "MODEL" else part for part in COMMANDS[name]), "--format", form)
    assert done.returncode == 0, done.stderr
    assert is_harmless(done.stdout), ascii(done.stdout[:400])
    assert is_harmless(done.stderr)


@pytest.mark.parametrize("command", [("explain", "PLAN"), ("diff", "PLAN", "PLAN")])
def test_a_document_with_such_a_name_is_read(command: tuple[str, ...], folder: str, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(call("planner", "plan", folder, *ON, "--format", "json").stdout)
    more = ("--model", folder) if command[0] == "explain" else ()
    done = call("planner", *(str(plan) if part == "PLAN" else part for part in command), *more)
    assert done.returncode == 0, done.stderr
    assert is_harmless(done.stdout)


@pytest.mark.parametrize("command", [("explain",), ("diff", str(FIXTURES / "plan.json")), ("export",)])
def test_a_document_with_control_characters_is_reported(command: tuple[str, ...], tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    text = (FIXTURES / "plan.json").read_text().replace('"llama-3-8b"', json.dumps(EVIL), 1)
    plan.write_text(text)
    out = ("--to", "megatron-lm", "-o", str(tmp_path / "run")) if command[0] == "export" else ()
    done = call("planner", *command, str(plan), *out)
    assert done.returncode == 2
    assert "control character" in done.stderr
    assert is_harmless(done.stderr)
    assert done.stdout == ""


@pytest.mark.parametrize("suffix", [".toml", ".json"])
@pytest.mark.parametrize(
    "command",
    [
        ("plan", "FILE", *ON),
        ("plan", "bert-base", *ON, "--space", "FILE"),
        ("topology", "FILE"),
        ("cluster", "import", "FILE"),
        ("validate", "--runs", "FILE"),
        ("explain", "FILE"),
        ("diff", "FILE", "FILE"),
        ("check", "FILE"),
        ("sweep", "FILE", "-o", "FILE"),
        ("plot", "FILE", "--x", "a", "--y", "b"),
        ("plan", "bert-base", *ON, "-o", "FILE"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_file_s_name_is_printed_harmlessly(command: tuple[str, ...], suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"{EVIL}{suffix}"
    file.write_text("no = [such file")
    done = call("planner", *(str(file) if part == "FILE" else part for part in command))
    assert done.returncode in (0, 2)
    assert is_harmless(done.stderr)
    assert is_harmless(done.stdout)


def test_names_in_tables_of_runs_are_printed_harmlessly(tmp_path: Path) -> None:
    head, row = (Path(__file__).parents[1] / "published" / "measured_runs.csv").read_text().splitlines()[:2]
    name = row.partition(",")[0]
    wrong = row.replace(",h100", f",{EVIL}", 1)
    assert wrong != row
    (tmp_path / "runs.csv").write_text("\n".join([head, row.replace(name, name + EVIL, 1), wrong]))
    for form in ("table", "markdown", "json"):
        done = call("planner", "validate", "--runs", str(tmp_path / "runs.csv"), "--format", form)
        assert done.returncode == 0, done.stderr
        assert is_harmless(done.stdout)
        assert is_harmless(done.stderr)


@pytest.mark.parametrize(
    "text",
    [
        f"SwitchName={QUIET} Nodes={QUIET}[1-4]\nNodeName={QUIET}[1-4] Gres=gpu:h100:8\n",
        json.dumps({"nodes": [{"id": EVIL, "kind": "host"}, {"id": "b", "kind": "switch"}], "links": []}),
    ],
)
def test_names_in_descriptions_of_clusters_are_cleaned(text: str, tmp_path: Path) -> None:
    file = tmp_path / f"{EVIL}.txt"
    file.write_text(text)
    done = call("planner", "cluster", "import", str(file), "--node", "dgx-h100", "--link-bandwidth", "400Gb/s")
    assert done.returncode == 0, done.stderr
    assert is_harmless(done.stdout)
    assert is_harmless(done.stderr)
    (tmp_path / "made.toml").write_text(done.stdout)
    shown = call("planner", "topology", str(tmp_path / "made.toml"))
    assert shown.returncode == 0, shown.stderr
    assert is_harmless(shown.stdout)


def test_names_in_results_are_drawn_harmlessly(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text(f"{EVIL},n,y\n{EVIL},1,2\nb{EVIL},2,3\n{EVIL},2,4\n")
    for form in ("", "svg", "html"):
        output = ("-o", str(tmp_path / f"plot.{form}")) if form else ()
        results = str(tmp_path / "results.csv")
        done = call("planner", "plot", results, "--x", "n", "--y", "y", "--by", EVIL, *output)
        assert done.returncode in (0, 2), done.stderr
        assert is_harmless(done.stdout)
        assert is_harmless(done.stderr)
        assert all(is_harmless(file.read_text("utf-8")) for file in tmp_path.glob("plot.*"))


def test_plans_of_a_list_are_named_harmlessly(tmp_path: Path) -> None:
    plans = f'[[plans]]\nname = {json.dumps("a" + EVIL)}\nmodel = "bert-base"\ncluster = "dgx-a100"\nnodes = 1\n'
    (tmp_path / "plans.toml").write_text((plans + "global_batch = 64\n").replace("\x7f", "\\u007f"))
    for form in ("table", "markdown", "json", "junit"):
        done = call("planner", "check", str(tmp_path / "plans.toml"), "--format", form)
        assert done.returncode in (0, 2), done.stderr
        assert is_harmless(done.stdout)
        assert is_harmless(done.stderr)
