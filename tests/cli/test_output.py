"""What becomes of the output: a full disk, a reader who has left, no terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.run import call
from tests.sample import mark_full

PLAN = str(Path(sys.executable).with_name("plan"))
ARGUMENTS = (PLAN, "llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "64")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_disk_is_a_single_message() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(ARGUMENTS, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "the output cannot be written: No space left on device" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.parametrize(
    "arguments", mark_full(["--help", "topology dgx-h100", "hardware list", "schema", "plan --help"], every=5)
)
def test_a_full_disk_is_bad_input_in_every_command(arguments: str) -> None:
    planner = Path(sys.executable).with_name("planner")
    with Path("/dev/full").open("w") as full:
        command = [str(planner), *arguments.split()]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert (done.returncode, done.stderr) == (2, "error: the output cannot be written: No space left on device\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_without_any_output_the_exit_code_remains() -> None:
    planner = Path(sys.executable).with_name("planner")
    with Path("/dev/full").open("w") as full:
        nobody = subprocess.run([str(planner), "nothing"], stdout=full, stderr=full, text=True, check=False)
    assert nobody.returncode == 2


def test_characters_that_stdout_lacks_are_replaced() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(ARGUMENTS, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"-----" in done.stdout
    assert done.stdout.isascii()


def test_a_pipe_or_folder_is_not_written_over_and_a_symlink_keeps_its_target(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "link.csv").symlink_to("plans.csv")
    arguments = (
        "planner",
        "estimate",
        "llama-3-8b",
        "--cluster",
        "dgx-h100",
        "--nodes",
        "1",
        "-b",
        "64",
        "--tp",
        "8",
    )
    for options, message in (
        (("--hostfile", str(tmp_path / "pipe")), "pipe: is not a file"),
        (("-o", str(tmp_path / "folder.csv")), "folder.csv: is a folder"),
    ):
        done = call(*arguments, *options)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
    assert (tmp_path / "pipe").is_fifo()
    assert call(*arguments, "-o", str(tmp_path / "link.csv")).returncode == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "plans.csv").read_text().startswith("rank,")
    assert len(list(tmp_path.iterdir())) == 4


def test_a_reader_who_leaves_is_no_error() -> None:
    with subprocess.Popen([*ARGUMENTS, "-f", "json", "--top", "1000"], stdout=-1, stderr=-1) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("batch", "readings"),
    [
        ("4M", ["'4M tokens', 512 sequences of 8,192 tokens", "4000000 for 4,000,000 sequences"]),
        ("256..4M", ["'256..4M tokens'", "4000000 for 4,000,000 sequences"]),
        ("1B", ["'1B tokens', 131,072 sequences", "1000000000 for 1,000,000,000 sequences"]),
    ],
)
def test_millions_of_sequences_are_refused_with_both_readings(batch: str, readings: list[str]) -> None:
    done = call("plan", "llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", batch)
    assert (done.returncode, done.stdout) == (2, "")
    for reading in readings:
        assert reading in done.stderr


def test_millions_of_images_are_no_tokens() -> None:
    done = call("plan", "resnet-50", "-c", "dgx-h100", "--nodes", "1", "-b", "4M")
    assert done.returncode == 2
    assert "images?" in done.stderr
    assert "4000000 for 4,000,000 images" in done.stderr
    assert "M tokens" not in done.stderr


@pytest.mark.parametrize(
    ("batch", "options", "message"),
    [
        ("4M tokens", (), "is 512 sequences of 8,192 = 4,194,304 tokens: rounded to what the widths of 32 devices"),
        ("4194304 tokens", (), ""),  # 512
        ("4000000 tokens", (), "is 488 sequences, which no data-parallel degree above 8 divides; 480 "),
        (
            "4M tokens",
            ("--tp", "4", "--cp", "1", "--dp", "8", "--micro-batch", "3"),
            "is 504 sequences",
        ),
        ("512", (), ""),
        ("2K", ("--tp", "4"), "is 2,048 sequences: rounded"),
        ("488", (), ""),  # what the user counted is what the user wants
    ],
)
def test_tokens_that_few_widths_divide_are_reported(batch: str, options: tuple[str, ...], message: str) -> None:
    done = call(
        "plan", "llama-3-8b", "-c", "dgx-h100", "--nodes", "4", "-b", batch, "--pp", "1", "--vpp", "1", *options
    )
    assert done.returncode == 0
    assert (message in done.stderr) if message else done.stderr == ""
