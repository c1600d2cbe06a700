"""Bad input gets a single helpful message on stderr, an empty stdout, and the exit code of the design."""

from pathlib import Path

import pytest

from tests.cli.run import call
from tests.examples import DEFAULTS, LAB

FOUR = ("--cluster", "dgx-h100", "--nodes", "4")
ON = (*FOUR, "--global-batch", "64")
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
    (("llama-3-8b", *ON, "--zero", "4"), ["--zero", "4", "0 to 3\n"]),
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
    (("", *ON), ["MODEL", "no model is named"]),
    (("-7B", *ON), ["MODEL", "size out of range", "-7B", "from 10M to 100T"]),
    (("1e9B", *ON), ["MODEL", "size out of range", "1e9B"]),
    (("./nodir/", *ON), ["nodir", "no such file"]),
    (("./nodir/config.json", *ON), ["there is no nodir/"]),
    (("llama-3-8b", "--cluster", "", "--global-batch", "8"), ["--cluster", "no cluster is named"]),
    (("llama-3-8b", "--cluster", "tests", "--global-batch", "8"), ["tests: is a folder", "a cluster file"]),
    (("tests", *ON), ["tests: the folder has no config.json"]),
    (("llama-3-8b", *FOUR, "--global-batch", "9" * 23), ["--global-batch", "from 1 to 1,000,000,000"]),
    (("llama-3-8b", *FOUR, "--global-batch", "9e20 tokens"), ["--global-batch", "from 1 to"]),
    (("llama-3-8b", *ON, "--seq-length", "1" + "0" * 20), ["--seq-length", "16,777,216"]),
    (("llama-3-8b", *ON, "--seq-length", "-1"), ["--seq-length", "from 1"]),
    (("llama-3-8b", *ON, "--tp", "9" * 20), ["--tp", "16,777,216"]),
    (("llama-3-8b", *ON, "--tp", "-1"), ["--tp", "-1", "a whole number from 1"]),
    (("llama-3-8b", *ON, "--tp", "abc"), ["--tp", "abc", "a whole number from 1"]),
    (("llama-3-8b", *ON, "--tokens", "-15T"), ["--tokens", "-15T", "such as 15T"]),
    (("llama-3-8b", "-c", "dgx-h100", "--nodes", "9" * 30, "-b", "8"), ["--nodes", "16,777,216"]),
    (("llama-3-8b", *ON, "--precision", "fp9"), ["--precision", "fp9", "did you mean fp8?"]),
    (("llama-3-8b", *ON, "--precision", "int8"), ["--precision", "unsupported by megatron-lm", "bf16"]),
    (("llama-3-8b", *ON, "--framework", "torch"), ["--framework", "torch", "fsdp2"]),
    (("llama-3-8b", *ON, "--tp", "1,,2"), ["--tp", 'value:    ""', "4,8"]),
    (("llama-3-8b", *FOUR, "-b", ""), ["--global-batch", 'value:    ""']),
    (("llama-3-8b", *FOUR, "-b", "8.."), ["--global-batch: not a range", "8..", "low..high"]),
    (("llama-3-8b", *FOUR, "-b", "..8"), ["--global-batch: not a range", "..8", "low..high"]),
    (("llama-3-8b", *FOUR, "-b", "1..inf"), ["--global-batch: not a count", "inf"]),
    (("llama-3-8b", *FOUR, "-b", "nan"), ["--global-batch: not a count", "nan"]),
    (("llama-3-8b", *ON, "--objective", ""), ["--objective: unknown objective", '""', "one of step-time"]),
    (("llama-3-8b", *ON, "--pareto", ""), ["--pareto: unknown objective", '""']),
    (("llama-3-8b", *ON, "--uncertainty", "-5"), ["--uncertainty: out of range", "-5"]),
    (("llama-3-8b", *ON, "--uncertainty", "1.5"), ["--uncertainty: not a whole number", "1.5"]),
    (("llama-3-8b", *ON, "--shard-group", "9" * 5000), ["--shard-group", "one of all, or a whole number"]),
    (("llama-3-8b", *ON, "--recompute-layers", "9" * 5000), ["--recompute-layers", "one of all"]),
    (("llama-3-8b", *ON, "--fault", "node-0:" + "9" * 5000), ["--fault: no NIC has this number", "0, 1, 2"]),
]


@pytest.mark.parametrize(("arguments", "messages"), CASES, ids=[" ".join(case[0])[:70] for case in CASES])
def test_bad_arguments_are_reported(arguments: tuple[str, ...], messages: list[str]) -> None:
    done = call("plan", *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    for part in messages:
        assert part in done.stderr


GOOD = """
name = "mine"
hidden_size = 512
layers = 4
heads = 8
ffn_size = 2048
vocab_size = 1000
seq_length = 256
"""
FILES = {
    "cut.json": '{"model_type": "llama", "hidden_size": 40',
    "latin.json": '{"model_type": "llám'.encode("latin-1"),
    "nul.toml": 'name = "a\0b"',
    "list.json": "[1, 2]",
    "deep.json": "[" * 100_000,
    "type.json": '{"model_type": "mamba"}',
    "empty.toml": "",
    "deep_model.toml": GOOD.replace("layers = 4", "layers = 20000"),
    "model.txt": "x",
}


def test_a_count_below_1_is_reported_alike_whatever_its_sign() -> None:
    for option in ("--nodes", "--devices", "--global-batch", "--tp", "--seq-length", "--tokens"):
        messages = []
        for value in ("0", "-1", "-8"):
            done = call("plan", "llama-3-8b", "--cluster", "dgx-h100", "--global-batch", "8", option, value)
            assert done.returncode == 2
            messages.append(done.stderr.replace(f"value:    {value}", "value"))
        assert messages[0] == messages[1] == messages[2], option
        assert "out of range" in messages[0]


@pytest.mark.parametrize("option", ["--dp", "--micro-batch", "--vpp"])
def test_a_huge_number_in_an_estimate_is_reported(option: str) -> None:
    done = call("planner", "estimate", "llama-3-8b", *ON, option, "9" * 20)
    assert done.returncode == 2
    for part in (option, "9" * 20, "16,777,216"):
        assert part in done.stderr


@pytest.mark.parametrize("name", FILES)
def test_a_broken_model_file_is_reported(name: str, tmp_path: Path) -> None:
    content = FILES[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    done = call("plan", f"./{name}", *ON, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert name in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[node.link]", "[node.links]", "did you mean link?"),
        ("nodes = 4", "nodes = 4.5", "nodes"),
        ('name = "chip"', "name = 3", "node.accelerator.name"),
        ("nodes = 4", "nodes = ", "not valid TOML"),
        ('"300GB/s"', "300", "a rate such as 300GB/s"),
        ("[node.link]", '[node.link]\ntopology = "nvswich"', "did you mean nvswitch?"),
    ],
)
def test_a_broken_cluster_file_is_reported(old: str, new: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(LAB.format(**DEFAULTS).replace(old, new, 1))
    done = call("plan", "llama-3-8b", "--cluster", str(tmp_path / "lab.toml"), "--global-batch", "8")
    assert done.returncode == 2, done.stderr
    assert "lab.toml" in done.stderr
    assert message in done.stderr


@pytest.mark.parametrize("name", ["lab.yaml", "lab.toml", "lab.json"])
def test_an_empty_cluster_file_is_reported(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("\n")
    done = call("plan", "llama-3-8b", "--cluster", str(tmp_path / name), "--global-batch", "8")
    assert done.returncode == 2
    assert f"{name}: is empty" in done.stderr


def test_a_link_that_leads_nowhere_is_not_its_own_suggestion(tmp_path: Path) -> None:
    link = tmp_path / "lab.toml"
    link.symlink_to(tmp_path / "gone.toml")
    done = call("plan", "llama-3-8b", "--cluster", str(link), "--global-batch", "8")
    assert done.returncode == 2
    assert "lab.toml: is a broken link" in done.stderr
    assert "did you mean" not in done.stderr


@pytest.mark.parametrize(
    ("text", "message"), [('"lab"', "is a text"), ("[1]", "is a list"), ("3", "is a whole number")]
)
def test_a_file_without_keys_is_reported(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "lab.json").write_text(text)
    done = call("plan", "llama-3-8b", "--cluster", str(tmp_path / "lab.json"), "--global-batch", "8")
    assert done.returncode == 2
    assert f"lab.json: {message} at the top level\n" in done.stderr


def test_a_typo_in_a_file_name_finds_the_file(tmp_path: Path) -> None:
    (tmp_path / "cluster.toml").write_text(LAB.format(**DEFAULTS))
    done = call("plan", "llama-3-8b", "--cluster", "./clutser.toml", "--global-batch", "8", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean cluster.toml?" in done.stderr


def test_a_model_that_fits_nowhere_gets_the_nearest_miss_and_a_remedy() -> None:
    done = call("plan", "llama-3.1-405b", "--cluster", "dgx-h100", "--nodes", "1", "--global-batch", "64")
    assert done.returncode == 3
    assert done.stdout == ""
    for part in ("no plan fits", "nearest miss", "too much", "what would make it fit", "devices"):
        assert part in done.stderr


def test_an_estimate_that_does_not_fit_is_reported() -> None:
    done = call("planner", "estimate", "llama-3-70b", *ON, "--tp", "8", "--micro-batch", "8")
    assert done.returncode == 3
    assert "no plan fits" in done.stderr


def test_a_usage_error_has_exit_code_two() -> None:
    for arguments in (("llama-3-8b",), ("llama-3-8b", *ON, "--tpp", "2"), ()):
        done = call("plan", *arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("program", "options", "message"),
    [
        ("plan", ("--hostfile", "x", "--rankfile", "./x"), "--hostfile, --rankfile: is written twice"),
        ("plan", ("-o", "x.csv", "-o", "x.csv"), "--output: is written twice"),
        ("estimate", ("-o", "x.md", "-o", "y.md", "--hostfile", "x.md"), "--output, --hostfile: is written twice"),
        ("plan", ("-o", "lab.json"), "--cluster, --output: is read as well"),
        ("plan", ("--rankfile", "lab.json"), "--cluster, --rankfile: is read as well"),
        ("plan", ("--distil", "lab.json", "-o", "lab.json"), "--distil, --output: is read as well"),
        ("plan", ("--space", "lab.json", "--hostfile", "lab.json"), "--space, --hostfile: is read as well"),
        ("size", ("-o", "lab.json"), "--cluster, --output: is read as well"),
    ],
)
def test_an_input_that_would_be_overwritten_is_reported_before_any_computation(
    program: str, options: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lab.json").write_text("no cluster")
    done = call("planner", program, "llama-3-8b", "--cluster", "lab.json", "--global-batch", "8", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert "a different file" in done.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("lab.json", "no cluster")]


def test_other_commands_write_no_file_over_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plan.json").write_text("{}")
    Path("hosts.toml").write_text("a slots=8\nb slots=8\n")
    for arguments in (
        ("explain", "plan.json", "-o", "plan.json"),
        ("explain", "plan.json", "-o", "a.json", "--trace", "a.json"),
        ("topology", "dgx-h100", "-o", "a.svg", "-o", "a.svg"),
        ("cluster", "import", "hosts.toml", "-o", "hosts.toml"),
        ("diff", "plan.json", "other.json", "-o", "plan.json"),
        ("diff", "other.json", "plan.json", "-o", "plan.json"),
        ("compare", "plan.json", "--on", "dgx-h100:1", "-o", "plan.json"),
        ("compare", "llama-3-8b", "--on", "plan.json:4", "-o", "plan.json"),
    ):
        done = call("planner", *arguments)
        assert done.returncode == 2, arguments
        assert "a different file" in done.stderr
    for key, arguments in (
        ("--trace", ("explain", "nothing.json", "--trace", "a.txt")),
        ("--output", ("cluster", "import", "nothing", "-o", "a.txt")),
    ):
        assert call("planner", *arguments).stderr.startswith(f"error: {key}: unknown file format"), arguments
    assert Path("plan.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("option", "value", "problem", "expected"),
    [
        ("--pue", "nan", "not a ratio", "from 1 to 5, such as 1.15"),
        ("--pue", "9", "out of range", "from 1 to 5, such as 1.15"),
        ("--mtbf-node", "1e300y", "not a duration", "a duration such as 10min, 50000h or 5y"),
        ("--carbon-intensity", "-3g/kWh", "not an intensity", "an intensity such as 56g/kWh"),
    ],
)
def test_a_quantity_is_refused_without_saying_the_same_twice(
    option: str, value: str, problem: str, expected: str
) -> None:
    done = call("plan", "llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "64", "--tp", "8", f"{option}={value}")
    assert done.returncode == 2
    assert done.stderr == f"error: {option}: {problem}\n  value:    {value}\n  expected: {expected}\n"


def test_an_unknown_cluster_is_reported_under_the_name_of_the_argument() -> None:
    done = call("planner", "topology", "nope")
    assert done.returncode == 2
    assert done.stderr.startswith("error: CLUSTER: unknown cluster\n  value:    nope\n")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("plan llama-3-8b --framwork fsdp2", "--framwork: no such option"),
        ("plan", "MODEL: is missing"),
        ("plan llama-3-8b --tp", "--tp: needs a value"),
        ("planner nope", "no such command 'nope'"),
        ("planner explain a b", "got unexpected extra argument"),
        ("planner export p.json --framework megatron-lm", "--framework: no such option"),
    ],
)
def test_errors_of_usage_have_the_form_of_all_errors(command: str, message: str) -> None:
    done = call(*command.split())
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {message}")
    assert "Usage" not in done.stderr


def test_an_option_of_another_command_suggests_the_one_that_is_meant() -> None:
    assert "did you mean --to?" in call("planner", "export", "p.json", "--framework", "megatron-lm").stderr
    assert "did you mean --framework?" in call("plan", "llama-3-8b", "--framwork", "fsdp2").stderr


@pytest.mark.parametrize("program", ["plan llama-3-8b --tp 8", "planner size llama-3-8b --deadline 30d"])
def test_a_run_of_less_than_a_step_is_noticed(program: str) -> None:
    size = () if " size " in program else ("--nodes", "1")
    done = call(*program.split(), "--cluster", "dgx-h100", *size, "--global-batch", "64", "--tokens", "15")
    assert "warning: --tokens 15 is less than the 524,288 of one step" in done.stderr


@pytest.mark.parametrize("group", ["models", "cluster", "hardware"])
def test_summaries_of_commands_are_not_cut(group: str) -> None:
    assert "..." not in call("planner", group, "--help").stdout.partition("Commands:")[2]
