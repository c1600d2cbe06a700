"""What becomes of the output: a full disk, a reader who has left, no terminal."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.run import call

PLAN = str(Path(sys.executable).with_name("plan"))
QUESTION = (PLAN, "llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "64")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.parametrize("form", ["table", "json"])
def test_a_full_disk_is_one_message(form: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*QUESTION, "-f", form], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "the output cannot be written: No space left on device" in done.stderr


def test_a_reader_who_leaves_is_no_fault() -> None:
    with subprocess.Popen([*QUESTION, "-f", "json", "--top", "1000"], stdout=-1, stderr=-1) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_many_sequences_may_have_been_meant_as_tokens() -> None:
    done = call("plan", "llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "4M", "--tp", "8", "--vpp", "1")
    assert done.returncode == 0
    assert "counts 4,000,000 sequences" in done.stderr
    assert "'4M tokens'" in done.stderr
