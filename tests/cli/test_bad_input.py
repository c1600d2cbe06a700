"""Bad input gets one helpful message on stderr, nothing on stdout, and the exit code of the design."""

from pathlib import Path

import pytest

from tests.cli.run import run
from tests.examples import DEFAULTS, LAB

ON = ("--cluster", "dgx-h100", "--nodes", "4", "--global-batch", "64")
CASES = [
    (("lama-3-8b", *ON), ["MODEL", "lama-3-8b", "did you mean llama-3-8b?"]),
    (("llama-3-8b", "--cluster", "dgx-h10", "--global-batch", "8"), ["--cluster", "did you mean dgx-h100?"]),
    (("llama-3-8b", "--cluster", "dgx-h100", "--nodes", "-1", "--global-batch", "8"), ["--nodes", "-1"]),
    (("llama-3-8b", "--cluster", "dgx-h100", "--nodes", "0", "--global-batch", "8"), ["--nodes", "0"]),
    (("llama-3-8b", "--cluster", "dgx-h100", "--nodes", "4", "--global-batch", "0"), ["--global-batch", "0"]),
    (
        ("llama-3-8b", "--cluster", "dgx-h100", "--nodes", "4", "--global-batch", "-8"),
        ["--global-batch", "-8"],
    ),
    (
        ("llama-3-8b", "--cluster", "dgx-h100", "--nodes", "4", "--global-batch", "many"),
        ["--global-batch", "many"],
    ),
    (("llama-3-8b", *ON, "--devices", "8"), ["--nodes, --devices", "either"]),
    (
        ("llama-3-8b", "--cluster", "dgx-h100", "--devices", "12", "--global-batch", "8"),
        ["--devices", "12", "8 or 16"],
    ),
    (("llama-3-8b", *ON, "--tp", "3"), ["--tp", "3", "one of 1, 2, 4, 8", "32 heads"]),
    (("llama-3-8b", *ON, "--tp", "0"), ["--tp", "0", "from 1"]),
    (("llama-3-8b", *ON, "--tp", "8..4"), ["--tp", "8..4", "low..high"]),
    (("llama-3-8b", *ON, "--dp", "3"), ["--dp", "3", "global batch 64"]),
    (
        ("llama-3-8b", "--cluster", "dgx-h100", "--nodes", "4", "--global-batch", "7", "--dp", "32"),
        ["--dp", "32", "global batch 7"],
    ),
    (("llama-3-8b", *ON, "--pp", "64"), ["--pp", "64"]),
    (("llama-3-8b", *ON, "--zero", "4"), ["--zero", "4", "0 to 3"]),
    (("llama-3-8b", *ON, "--recompute", "ful"), ["--recompute", "did you mean full?"]),
    (("llama-3-8b", *ON, "--precision", "bf61"), ["--precision", "bf61"]),
    (("llama-3-8b", *ON, "--tokens", "15Q"), ["--tokens", "15Q"]),
    (("gpt-3-175b", *ON, "--seq-length", "4096"), ["--seq-length", "4096", "2048"]),
    (
        ("llama-3-8b", *ON, "--tp", "2", "--pp", "2", "--dp", "4", "--cp", "1"),
        ["--tp, --pp, --dp, --cp", "32 devices"],
    ),
    (("missing.json", *ON), ["missing.json", "no such file"]),
    (("./folder-that-is-not-there/", *ON), ["folder-that-is-not-there"]),
    (("llama-3-8b", "--cluster", "missing.toml", "--global-batch", "8"), ["missing.toml", "no such file"]),
    (("700B?", *ON), ["MODEL", "700B?"]),
]


@pytest.mark.parametrize(("arguments", "told"), CASES, ids=[" ".join(case[0])[:70] for case in CASES])
def test_it_is_told(arguments: tuple[str, ...], told: list[str]) -> None:
    done = run("plan", *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for part in told:
        assert part in done.stderr


FILES = {
    "cut.json": '{"model_type": "llama", "hidden_size": 40',
    "latin.json": '{"model_type": "llám'.encode("latin-1"),
    "nul.toml": 'name = "a\0b"',
    "list.json": "[1, 2]",
    "deep.json": "[" * 100_000,
    "type.json": '{"model_type": "mamba"}',
    "empty.toml": "",
    "model.txt": "x",
}


@pytest.mark.parametrize("name", FILES)
def test_a_broken_model_file_is_told(name: str, tmp_path: Path) -> None:
    content = FILES[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    done = run("plan", f"./{name}", *ON, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert name in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[node.link]", "[node.links]", "did you mean link?"),
        ("nodes = 4", "nodes = 4.5", "nodes"),
        ('name = "chip"', "name = 3", "node.accelerator.name"),
        ("nodes = 4", "nodes = ", "not valid TOML"),
    ],
)
def test_a_broken_cluster_file_is_told(old: str, new: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(LAB.format(**DEFAULTS).replace(old, new, 1))
    done = run("plan", "llama-3-8b", "--cluster", "lab.toml", "--global-batch", "8", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "lab.toml" in done.stderr
    assert told in done.stderr


def test_a_typo_in_a_file_name_finds_the_file(tmp_path: Path) -> None:
    (tmp_path / "cluster.toml").write_text(LAB.format(**DEFAULTS))
    done = run("plan", "llama-3-8b", "--cluster", "./clutser.toml", "--global-batch", "8", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean cluster.toml?" in done.stderr


def test_a_model_that_fits_nowhere_gets_the_nearest_miss_and_a_way_out() -> None:
    done = run("plan", "llama-3.1-405b", "--cluster", "dgx-h100", "--nodes", "1", "--global-batch", "64")
    assert done.returncode == 3
    assert done.stdout == ""
    for part in ("no plan fits", "nearest miss", "too much", "what would make it fit", "devices"):
        assert part in done.stderr


def test_an_estimate_that_does_not_fit_is_told() -> None:
    done = run("planner", "estimate", "llama-3-70b", *ON, "--tp", "8", "--micro-batch", "8")
    assert done.returncode == 3
    assert "no plan fits" in done.stderr


def test_a_usage_error_has_exit_code_two() -> None:
    for arguments in (("llama-3-8b",), ("llama-3-8b", *ON, "--tpp", "2"), ()):
        done = run("plan", *arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
