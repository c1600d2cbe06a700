"""Files and places that would break a program: commands end with a single message, in time, without a traceback."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.run import call
from tests.examples import DEFAULTS, LAB
from tests.fuzz.run import MOST_BYTES, limit_memory, read_input
from tests.sample import mark_full

ON = ("--cluster", "dgx-a100", "--nodes", "1", "--global-batch", "8")
LAB_TEXT = LAB.format(**DEFAULTS)
COMMANDS = {
    "model": (".toml", lambda file: ("plan", file, *ON)),
    "config": (".json", lambda file: ("plan", file, *ON)),
    "cluster": (".toml", lambda file: ("plan", "llama-3-8b", "--cluster", file, "--global-batch", "8")),
    "cluster-yaml": (".yaml", lambda file: ("topology", file)),
    "import": (".txt", lambda file: ("cluster", "import", file)),
    "space": (".toml", lambda file: ("plan", "llama-3-8b", *ON, "--space", file)),
    "runs": (".csv", lambda file: ("validate", "--runs", file)),
    "document": (".json", lambda file: ("explain", file)),
}
"""Every type of file with a command that reads it."""


def check_refused(done: subprocess.CompletedProcess[str], file: str = "") -> None:
    """The command refused its input, and said so of the file."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.replace("\n", "").isprintable()
    assert file in done.stderr


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's rights, to whom nothing is forbidden."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("file_type", COMMANDS)
def test_a_folder_is_reported(file_type: str, tmp_path: Path) -> None:
    suffix, command = COMMANDS[file_type]
    folder = tmp_path / f"folder{suffix}"
    folder.mkdir()
    check_refused(call("planner", *command(str(folder))), "folder")


@pytest.mark.parametrize("file_type", COMMANDS)
def test_a_pipe_without_a_writer_is_reported(file_type: str, tmp_path: Path) -> None:
    suffix, command = COMMANDS[file_type]
    pipe = tmp_path / f"pipe{suffix}"
    os.mkfifo(pipe)
    check_refused(call("planner", *command(str(pipe))), f"{pipe}: is not a file")


@pytest.mark.parametrize("file_type", COMMANDS)
def test_an_unreadable_file_is_reported(file_type: str, tmp_path: Path) -> None:
    suffix, command = COMMANDS[file_type]
    file = tmp_path / f"secret{suffix}"
    file.write_text(LAB_TEXT)
    check_refused(call("planner", *command(f"missing{suffix}")))  # loads modules that `nobody` may not
    file.chmod(0)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    with as_nobody():
        done = call("planner", *command(str(file)))
    check_refused(done, f"{file}: cannot be read: Permission denied")


ENCODED = {
    "nul": (b'name = "a\0b"', "not valid|control|holds no|no format|rows|unknown|missing"),
    "latin-1": (LAB_TEXT.replace('"lab"', '"l\xe1b"').encode("latin-1"), ""),
    "utf-16": (LAB_TEXT.encode("utf-16"), ""),
    "surrogate": (b'name = "\xed\xa0\x80"', ""),
    "empty": (b"", ""),
    "spaces": (b" \n\t\n", ""),
}


@pytest.mark.parametrize("how", ENCODED)
@pytest.mark.parametrize("file_type", COMMANDS)
def test_a_file_that_is_no_text_is_reported(file_type: str, how: str, tmp_path: Path) -> None:
    suffix, command = COMMANDS[file_type]
    file = tmp_path / f"bad{suffix}"
    file.write_bytes(ENCODED[how][0])
    check_refused(call("planner", *command(str(file))), "bad")


@pytest.mark.parametrize("change", [lambda raw: b"\xef\xbb\xbf" + raw, lambda raw: raw.replace(b"\n", b"\r\n")])
def test_byte_order_marks_and_windows_line_breaks_make_no_difference(change, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file, other = tmp_path / "one" / "lab.toml", tmp_path / "two" / "lab.toml"
    for path, raw in ((file, LAB_TEXT.encode()), (other, change(LAB_TEXT.encode()))):
        path.parent.mkdir()
        path.write_bytes(raw)
    unix, windows = (
        call("planner", "plan", "bert-base", "--cluster", str(path), "--global-batch", "64") for path in (file, other)
    )
    assert unix.returncode == 0, unix.stderr
    assert unix.stdout == windows.stdout


LONG = "x" * 9_900_000
DEEP = {
    "deep.toml": "a = " + "[" * 100_000,
    "deep-inline.toml": "a = " + "{a = " * 100_000,
    "dotted.toml": "a." * 100_000 + "b = 1",
    "dotted-table.toml": "[" + "a." * 100_000 + "b]",
    "deep.json": '{"model_type":' + "[" * 100_000,
    "deep-object.json": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "long.json": f'{{"model_type": "{LONG}"}}',
    "long-number.json": '{"model_type": ' + "9" * 1_000_000 + "}",
    "wide.json": '{"model_type": [' + "[]," * 3_000_000 + "[]]}",
    "long.toml": f'name = "{LONG}"',
    "long-key.toml": "k" * 1_900_000 + " = 1",
}


@pytest.mark.parametrize("name", DEEP)
def test_a_deep_or_long_model_file_takes_little_memory(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(DEEP[name])
    with limit_memory(MOST_BYTES):
        outcome = read_input(lambda path: check_refused(call("planner", "plan", str(path), *ON), name), file)
    assert outcome.verdict == "accepted", outcome.message


BOMB = "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*{'a' if n == 0 else f'b{n - 1}'}, *a]\n" for n in range(40))
YAML = {
    "aliases": BOMB,
    "anchor in itself": "a: &a [*a]\n",
    "flow": "[" * 100_000,
    "block": "- " * 100_000,
    "keys": "? " * 100_000,
    "sixties": "name: " + ":".join(["59"] * 100_000),
    "python": "name: !!python/object/apply:os.system [id]",
    "binary": "name: !!binary aGk=",
    "bool": "name: !!bool x",
    "int": "name: !!int ''",
    "long": f"name: {LONG}",
    "many": "- a\n" * 120_000,
}


@pytest.mark.parametrize("name", YAML)
def test_a_small_yaml_file_does_not_blow_up(name: str, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(YAML[name])
    check_refused(call("planner", "topology", str(tmp_path / "lab.yaml")), "lab.yaml")


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e400", "0x" + "f" * 5000, "9" * 400, "true"])
@pytest.mark.parametrize("key", ["nodes", "devices", "oversubscription", "capacity", "bandwidth", "latency", "count"])
def test_meaningless_numbers_are_reported(key: str, value: str, tmp_path: Path) -> None:
    text, changed = re.subn(rf"(?m)\b{key} = [^\s,}}]+", f"{key} = {value}", LAB_TEXT, count=1)
    assert changed
    (tmp_path / "lab.toml").write_text(text)
    check_refused(
        call("planner", "plan", "bert-base", "--cluster", str(tmp_path / "lab.toml"), "--global-batch", "8"), key
    )


HEX = "0x" + "f" * 5000
OWN = LAB_TEXT.partition("[[fabric]]")[0].replace("nodes = 4", "")
FABRIC = '[[fabric]]\nname = "a"\n'
NETWORK = 'name = "n"\ninput = [3, 8, 8]\n[[layers]]\noperators = [{ op = OP }]\n'
POOL = '[[pools]]\nnode = "dgx-h100"\nnodes = 1\n'
MANY = {
    "hosts": ("cluster", OWN + '[[hosts]]\nname = "a[1-1000000]"\n' * 1000, "too many names"),
    "long hosts": ("cluster", OWN + f'[[hosts]]\nname = "{"a" * 4000}[1-200000]"\n', "too many names"),
    "levels": ("cluster", LAB_TEXT + FABRIC * 10_000, "fabric: too long"),
    "faults": ("cluster", LAB_TEXT + '[[faults]]\npart = "node-0"\nrate = 0.5\n' * 20_000, "faults: too long"),
    "pools": ("cluster", 'name = "a"\n' + POOL * 10_000, "pools: too long"),
    "axes": ("cluster", LAB_TEXT.replace('"leaf"', f'"leaf"\nshape = {[1] * 1000}'), "shape: too long"),
    "nodes": (
        "cluster",
        LAB_TEXT.replace("= 4\n", "= 4000000\n", 1) + '[[faults]]\npart = "node-0"\n',
        "too many nodes",
    ),
    "digits": ("cluster", LAB_TEXT.replace('"300GB/s"', HEX, 1), "thousands of digits"),
    "digits of an operator": ("model", NETWORK.replace("OP", HEX), "unknown operator"),
    "digits of a split": ("space", f"tp = {HEX}", "out of range"),
    "values": ("space", f"tp = {[1] * 5000}", "too many values"),
    "values in a text": ("space", f'tp = "{"4," * 500_000}4"', "too many values"),
    "ranges": ("space", f'tp = "{"1..100000," * 900}1"', "not a range"),
    "spaces": ("space", f'tp = "{" " * 1_900_000}x"', "a whole number"),
}
"""Small files that would come to much, or large files of what no description needs."""


@pytest.mark.parametrize("name", MANY)
def test_excessive_files_are_reported_in_time(name: str, tmp_path: Path) -> None:
    file_type, text, problem = MANY[name]
    suffix, command = COMMANDS[file_type]
    file = tmp_path / f"many{suffix}"
    file.write_text(text)

    def refused(path: Path) -> None:
        done = call("planner", *command(str(path)))
        check_refused(done, "many")
        assert problem in done.stderr

    with limit_memory(MOST_BYTES):
        outcome = read_input(refused, file)
    assert outcome.verdict == "accepted", outcome.message


@pytest.mark.parametrize("name", ["a" * 300, "a" * 300 + "/", "a/" * 3000, "70B" * 50_000, "a" * 100_000 + ".json"])
def test_a_name_that_no_file_can_have_is_reported(name: str) -> None:
    check_refused(call("planner", "plan", name, *ON))
    check_refused(call("planner", "topology", name))


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("r.csv", b"x,y\n" + b'"' * 200_001),
        ("r.csv", b"x,y\n1\n"),
        ("r.csv", b"x,y\n1," + b"9" * 5000),
        ("r.jsonl", b'{"x": 1, "y": ' + b"9" * 400 + b"}"),
        ("r.jsonl", b'{"x": 1, "y": ' + b"[" * 100_000),
        ("r.parquet", b"PAR1" + b"\xff" * 100 + b"PAR1"),
        ("r.parquet", b""),
    ],
)
def test_results_that_cannot_be_drawn_are_reported(name: str, raw: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(raw)
    check_refused(call("planner", "plot", str(tmp_path / name), "--x", "x", "--y", "y"))


@pytest.mark.parametrize("closed", mark_full([">&- 2>&- <&-", "2>&-", ">&-", ">/dev/full 2>/dev/full"], every=4))
@pytest.mark.parametrize("model", ["bert-base", "no-such-model"])
def test_streams_that_are_closed_leave_no_traceback(model: str, closed: str, tmp_path: Path) -> None:
    planner = Path(sys.executable).with_name("planner")
    command = f"{planner} plan {model} {' '.join(ON)} {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    unwritten = {">&-", ">/dev/full"} & set(closed.split())
    assert done.returncode == (2 if unwritten or model != "bert-base" else 0)
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr


def test_a_file_is_not_written_on_a_full_disk() -> None:
    done = call("plan", "bert-base", *ON, "-o", "/dev/full/plan.json")
    assert done.returncode == 2
    assert "plan.json" in done.stderr


def test_a_missing_working_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    planner = Path(sys.executable).with_name("planner")
    command = f"rmdir ../gone && {planner} plan bert-base {' '.join(ON)} -o plan.json"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, cwd=tmp_path / "gone")
    check_refused(done, "plan.json: cannot be written")


def test_a_range_of_a_sweep_has_printable_numbers(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    grid = f"from = 1, to = 0x{'f' * 4000}, factor = 2"
    file.write_text(f'[grid]\nmodel = "llama-3-8b"\ncluster = "dgx-a100"\nglobal_batch = 8\nnodes = {{ {grid} }}\n')
    done = call("planner", "sweep", str(file), "-o", str(tmp_path / "out.csv"))
    check_refused(done, str(file))
    assert "grid.nodes: out of range" in done.stderr


def test_a_very_long_name_is_not_printed_whole(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    grid = f'model = "llama-3-8b{"x" * 20_000}"\ncluster = "dgx-a100"\nglobal_batch = 8\nnodes = 1'
    file.write_text(f'[grid]\n{grid}\n[[exclude]]\nmodel = "llama-3-8b"\n')
    done = call("planner", "sweep", str(file), "-o", str(tmp_path / "out.csv"))
    check_refused(done, str(file))
    assert len(done.stderr) < 10_000


def test_hosts_of_a_node_without_a_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "cluster.toml"
    file.write_text('name = "lab"\nnode = ""\n[[hosts]]\nname = "a"\n[[hosts]]\nname = "b"\n')
    done = call("plan", "llama-3-8b", "--cluster", str(file), "--global-batch", "8")
    check_refused(done, str(file))
    assert "node: unknown node" in done.stderr
