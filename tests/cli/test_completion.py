"""Shell completion: in real shells where they are installed, and what the program answers to their scripts."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from inspect import signature
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cli.commands import COMMANDS, load_command
from planner.cli.commands.cluster_import import IMPORT_FORMATS
from planner.cli.commands.hardware import SORT_WORDS
from planner.cli.completion.complete import print_completions
from planner.cli.options.command import Command
from planner.cli.options.words import list_option_words
from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.importers.detect_format import DESCRIPTION_FORMATS
from planner.cluster.model import presets
from planner.cost.settings import SETTINGS
from planner.cost.strategies import RECOMPUTE_MODES
from planner.cost.techniques import OPTIMIZERS as KNOWN_OPTIMIZERS
from planner.hardware import catalogue, database
from planner.hardware.grids import read_grid
from planner.request.options import OBJECTIVES, OPTIMIZERS, Option
from planner.search.objective import ObjectiveName
from planner.studies.changes import PART_KEYS, SCENARIO_KEYS, apply_cluster_change, check_change_key
from planner.workload.presets import list_preset_names
from tests.cli.run import call, run
from tests.terminal import terminal

SHELLS = {
    "bash": ("bash", "--norc", "--noprofile", "-i"),
    "zsh": ("zsh", "-f", "-i"),
    "fish": ("fish", "--no-config", "-i"),
}
LOADED = {
    "bash": 'eval "$(planner completion bash)"; echo rea""dy\r',
    "zsh": 'autoload -U compinit; compinit -u -D; eval "$(planner completion zsh)"; echo rea""dy\r',
    "fish": 'planner completion fish | source; echo rea""dy\r',
}
TYPED = (
    ("plan llama-3-7\t", "llama-3-70b"),
    ("plan 70B --cluster dgx-h100:2+dgx-a10\t", "dgx-h100:2+dgx-a100"),
    ("plan 70B --cluster=gb200-nvl7\t", "--cluster=gb200-nvl72"),
    ("plan ./my-cl\t", "./my-cluster.toml"),
    ("planner val\t", "validate"),
)


def complete(*line: str) -> list[str]:
    """What the program offers at the end of a line, without the meanings; files as the line that requests them."""
    out = io.StringIO()
    with redirect_stdout(out):
        print_completions(line)
    return [
        line_out if line_out.startswith("\t") else line_out.split("\t")[0] for line_out in out.getvalue().splitlines()
    ]


@pytest.mark.parametrize("shell", list(SHELLS))
def test_a_shell_completes_names_options_and_files(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "my-cluster.toml").touch()
    (tmp_path / "my-clutter.txt").touch()
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    with terminal(SHELLS[shell], tmp_path, home) as there:
        there.write(LOADED[shell])
        there.until("ready")
        for typed, wanted in TYPED:
            there.write(typed)
            assert there.until(wanted).endswith(wanted)
            there.write("\x15")  # an empty line again


def test_models_and_clusters_are_offered_with_their_titles() -> None:
    done = run("plan", "llama-3-8", _PLANNER_COMPLETE="bash")
    assert (done.returncode, done.stdout, done.stderr) == (0, "llama-3-8b\tLlama 3 8B\n\t.json .toml\n", "")
    assert complete("plan", "")[:-1] == list_preset_names()
    assert complete("planner", "what-if", "70B", "-c", "")[:-1] == database.list_database_names("clusters")
    assert complete("planner", "topology", "dgx-h2") == ["dgx-h200", "\t.toml .yaml .yml .json"]
    assert complete("planner", "hardware", "compare", "b200", "h100-p") == ["h100-pcie-80gb"]
    assert complete("planner", "cluster", "import", "x", "--node", "") == database.list_database_names("nodes")
    assert all(read_grid(name).name == name for name in complete("plan", "70B", "--grid", ""))


def test_lists_go_on_after_a_comma_and_pools_after_a_plus() -> None:
    assert complete("plan", "70B", "--recompute", "none,s") == ["none,selective"]
    assert complete("plan", "70B", "--zero", "0,1,") == ["0,1,2", "0,1,3"]
    assert complete("plan", "70B", "-c", "dgx-h100:2+dgx-h") == ["dgx-h100:2+dgx-h200", "\t.toml .yaml .yml .json"]


def test_options_are_offered_where_they_can_stand() -> None:
    assert "--global-batch" in complete("plan", "--")
    assert complete("plan", "70B", "--train") == ["--trainer"]
    assert complete("plan", "70B", "--framew") == []
    assert complete("plan", "70B", "--trainer=megatron-") == [
        f"--trainer=megatron-{end}" for end in ("lm", "bridge", "deepspeed", "classic", "fsdp")
    ]
    versions = complete("plan", "70B", "--trainer", "torchtitan@")
    releases = [version for version in versions if version.startswith("torchtitan@0.")]
    assert versions[0] == "torchtitan@0.3" and complete("plan", "70B", "--trainer", "torchtitan@0.") == releases
    assert complete("plan", "70B", "--diverse", "--objective", "memory") == ["memory-headroom"]
    assert complete("plan", "70B", "--tp", "") == []
    assert complete("plan", "--", "--") == ["\t.json .toml"]
    assert complete("planner", "hardware", "sh") == ["show"]
    assert "clusters" not in complete("planner", "")
    assert complete("planner", "schema", "what") == ["what-if"]
    assert complete("planner", "explain", "") == ["\t.json"]
    (endings,) = complete("planner", "topology", "x", "-o", "")
    assert endings.split() == [".svg", ".dot", ".graphml", ".html", ".md", ".csv", ".jsonl", ".json", ".xml", ".txt"]


@settings(max_examples=10)
@given(st.lists(st.text(max_size=8), max_size=4), st.text(max_size=8), st.sampled_from(["plan", "planner"]))
def test_completion_fails_at_no_line(before: list[str], typed: str, program: str) -> None:
    for line in complete(program, *before, typed):
        assert line == line.strip("\n")


def test_no_arrays_are_loaded_for_an_answer() -> None:
    script = (
        "import sys; from planner.cli.completion.complete import print_completions; "
        "print_completions(sys.argv[1:]); print('numpy' in sys.modules)"
    )
    for line in (["planner", "plan", "70B", "-c", "dgx-h10"], ["planner", "what-if", "x", "--precision", "fp8"]):
        done = subprocess.run([sys.executable, "-c", script, *line], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "False"
        assert len(done.stdout.splitlines()) > 1


def list_commands() -> Iterator[Command]:
    """Every command, those of groups too."""
    for name in COMMANDS:
        command = load_command(name)
        yield from [command] if isinstance(command, Command) else command.commands.values()


def list_offered(command: str, key: str) -> list[str]:
    """The words of an option of a command."""
    declared = load_command(command)
    assert isinstance(declared, Command)
    (option,) = [option for option in declared.options if option.key == key]
    return [word for word, _ in list_option_words(option)]


def test_every_command_takes_its_options() -> None:
    for command in list_commands():
        passed = {option.name for option in command.options if option.name not in command.value_names} - {"format"}
        passed |= {"values"} if command.value_names else set()
        taken = signature(command.function).parameters
        if not any(option.kind is option.VAR_KEYWORD for option in taken.values()):
            assert passed == set(taken), command.function.__name__


def test_every_completion_is_of_words_that_there_are() -> None:
    def is_complete(option: Option) -> bool:
        return option.completion is None or not option.completion.source or bool(list(list_option_words(option)))

    assert all(is_complete(option) for command in list_commands() for option in command.options)


def test_offered_words_are_accepted() -> None:
    assert get_args(ObjectiveName) == OBJECTIVES
    assert tuple(KNOWN_OPTIMIZERS) == OPTIMIZERS
    assert set(IMPORT_FORMATS) - {"auto"} == set(DESCRIPTION_FORMATS)
    for name, setting in SETTINGS.items():
        every = set() if setting.kind == "quantity" else {"all"}
        assert set(list_offered("plan", f"--{name.replace('_', '-')}")) == {*setting.values} | every
    assert list_offered("plan", "--recompute") == list(RECOMPUTE_MODES)
    for name in SORT_WORDS:
        assert catalogue.sort_accelerator_entries(catalogue.read_accelerator_entries()[:2], name, None)


def test_joined_words_that_are_offered_are_values() -> None:
    on = ("plan", "70B")
    for option, first in (("--recompute-modules", "mlp"), ("--offload-modules", "mlp_norm")):
        normalize = SETTINGS[option.removeprefix("--").replace("-", "_")].normalize
        assert normalize is not None
        joined = complete(*on, option, f"{first}+")
        assert joined
        assert [set(normalize(value).split("+")) for value in joined] == [set(value.split("+")) for value in joined]
        assert complete(*on, option, f"{first},{first}+") == [f"{first},{value}" for value in joined]
        assert complete(*on, option, "all+") == complete(*on, option, "all,") == []
    assert complete(*on, "--recompute-modules", "minimal+") == []
    assert "mlp,minimal" in complete(*on, "--recompute-modules", "mlp,")
    assert complete(*on, "--schedule", "all,") == []
    assert "1f1b,all" not in complete(*on, "--schedule", "1f1b,")
    for option in ("--packing", "--router"):
        assert "all" not in complete(*on, option, "")
        refused = call("plan", "llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "8", option, "all")
        assert (refused.returncode, f"{option}: unknown value" in refused.stderr) == (2, True)


def test_every_change_that_is_offered_can_be_made() -> None:
    cluster = resolve_cluster(presets.load_cluster_spec("dgx-h100"), "dgx-h100")
    for name in list_offered("what-if", "--set"):
        key = name.removesuffix("=")
        if key not in (*SCENARIO_KEYS, *PART_KEYS):
            check_change_key(key, cluster, "bf16")
            _, change = apply_cluster_change(cluster, key, "2x", "bf16")
            assert change.after == pytest.approx(2 * change.before), key


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_of_both_programs(shell: str) -> None:
    done = call("planner", "completion", shell)
    assert done.returncode == 0
    assert f"_PLANNER_COMPLETE={shell}" in done.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=done.stdout, text=True, check=True)


def test_an_unknown_shell_is_refused() -> None:
    assert call("planner", "completion", "tcsh").returncode == 2
