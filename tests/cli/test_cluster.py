"""`planner cluster import` and `list` as commands: where the file goes, what stands on which stream."""

import tomllib
from pathlib import Path

import pytest

from tests.cli.run import call

FIXTURES = Path(__file__).parents[1] / "fixtures" / "clusters"


def find_fixture(name: str) -> str:
    return str(FIXTURES / name)


def test_without_an_output_the_file_is_all_of_stdout() -> None:
    done = call("planner", "cluster", "import", find_fixture("slurm-tree.conf"), "--node", "dgx-h100")
    assert done.returncode == 0
    assert tomllib.loads(done.stdout)["node"] == "dgx-h100"
    assert "warning: uplinks of a switch have" in done.stderr
    assert "# - uplinks of a switch have" in done.stdout


def test_an_output_is_written_whole(tmp_path: Path) -> None:
    target = tmp_path / "cluster.toml"
    arguments = ("planner", "cluster", "import", find_fixture("nccl-mi300x.xml"), "--nodes", "4", "-o", str(target))
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (0, "")
    assert [entry.name for entry in tmp_path.iterdir()] == ["cluster.toml"]
    planned = call("plan", "llama-3-8b", "--cluster", str(target), "--global-batch", "64", "--format", "json")
    assert planned.returncode == 0, planned.stderr
    before = target.read_bytes()
    call(*arguments)
    assert target.read_bytes() == before


def test_a_failed_import_leaves_an_old_file_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "cluster.toml"
    target.write_text("old")
    done = call("planner", "cluster", "import", find_fixture("slurm-tree.conf"), "-o", str(target))
    assert (done.returncode, target.read_text()) == (2, "old")


def test_several_files_and_formats_are_read_in_order() -> None:
    files = find_fixture("slurm-tree.conf"), find_fixture("slurm-states.txt")
    once = call("planner", "cluster", "import", "--from", "slurm", *files)
    twice = call("planner", "cluster", "import", "--from", "slurm", "--from", "auto", *files)
    assert once.returncode == twice.returncode == 0, once.stderr
    assert once.stdout == twice.stdout
    assert {failed["part"] for failed in tomllib.loads(once.stdout)["faults"]} == {
        "a05-p1-dgx-01-c04",
        "b05-p1-dgx-05-c18",
    }


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (("nowhere.txt",), ["nowhere.txt", "no such file"]),
        ((find_fixture("slurm-tree.conf"), "--from", "slrm"), ["--from", "slrm", "did you mean slurm?"]),
        ((find_fixture("slurm-tree.conf"), "--from", "slurm", "--from", "nccl"), ["--from", "once for all"]),
        ((find_fixture("slurm-tree.conf"), "--node", "dgx-h10"), ["--node", "did you mean dgx-h100?"]),
        ((find_fixture("slurm-tree.conf"), "--link-bandwidth", "400"), ["--link-bandwidth", "a rate such as"]),
        ((find_fixture("slurm-tree.conf"), "--oversubscription", "0.5"), ["--oversubscription", "from 1 to"]),
        ((find_fixture("topo-h100.txt"), "--node", "dgx-h100", "--nodes", "0"), ["--nodes", "from 1"]),
        ((find_fixture("topo-h100.txt"), "--node", "dgx-h100", "--name", ""), ["--name"]),
        ((find_fixture("topo-h100.txt"), "--node", "dgx-h100", "-o", "x.json"), ["x.json", ".toml"]),
        (
            (find_fixture("topo-h100.txt"), "--node", "dgx-h100", "-o", "nowhere/x.toml"),
            ["nowhere/x.toml", "written"],
        ),
        ((find_fixture("topo-h100.txt"),), ["topo-h100.txt", "--accelerator"]),
    ],
)
def test_wrong_arguments_are_reported(arguments: tuple[str, ...], messages: list[str]) -> None:
    done = call("planner", "cluster", "import", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    for part in messages:
        assert part in done.stderr


def test_bytes_that_are_no_text_are_reported(tmp_path: Path) -> None:
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)) * 40)
    done = call("planner", "cluster", "import", str(tmp_path / "noise.bin"))
    assert done.returncode == 2
    assert "unknown format" in done.stderr
    assert done.stderr.replace("\n", "").isprintable()


def test_files_of_windows_are_read(tmp_path: Path) -> None:
    text = Path(find_fixture("topo-h100.txt")).read_text()
    (tmp_path / "topo.txt").write_bytes(text.replace("\n", "\r\n").encode("utf-16"))
    done = call("planner", "cluster", "import", str(tmp_path / "topo.txt"), "--node", "dgx-h100")
    assert done.returncode == 0, done.stderr
    assert tomllib.loads(done.stdout)["node"]["devices"] == 8


def test_the_old_name_of_the_list_still_works() -> None:
    assert call("planner", "clusters", "list").stdout == call("planner", "cluster", "list").stdout
    shown = call("planner", "--help").stdout
    commands = [line.split()[0] for line in shown.splitlines() if line.startswith("  ")]
    assert "cluster" in commands
    assert "clusters" not in commands


def test_nics_beyond_those_of_the_node_lose_their_number_and_keep_their_link(tmp_path: Path) -> None:
    lines = ["StartDevice,StartPort,EndDevice,EndPort,Speed"]
    lines += [f"h{host},mlx5_{nic},leaf,Port {10 * host + nic},400G" for host in range(2) for nic in range(10)]
    (tmp_path / "links.csv").write_text("\n".join(lines))
    target = tmp_path / "cluster.toml"
    done = call("planner", "cluster", "import", str(tmp_path / "links.csv"), "--node", "dgx-h100", "-o", str(target))
    assert done.returncode == 0, done.stderr
    assert "NIC numbers from 8 on are left out: dgx-h100 has no more" in done.stderr
    result = call("planner", "topology", str(target), "--format", "json")
    assert result.returncode == 0, result.stderr
    links = [(link["ends"][0], link.get("cables", 1)) for link in tomllib.loads(target.read_text())["links"]]
    assert sorted(links) == [("h[0-1]", 2), *((f"h[0-1]:{nic}", 1) for nic in range(8))]


@pytest.mark.parametrize("slots", ["slots=-1", "slots=1000000000", "slots=1e9", "slots=4.5", ":1000000000", ":-8"])
def test_impossible_slots_are_reported(slots: str, tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text(f"a slots=8\nb{slots if slots.startswith(':') else ' ' + slots}\n")
    for options in ((), ("--from", "hostfile")):
        done = call("planner", "cluster", "import", str(file), "--node", "dgx-h100", *options)
        assert (done.returncode, done.stdout) == (2, "")
        for part in (f"{file}: line 2: not a number of slots", slots.split("=")[-1].strip(":"), "from 0 to 4,096"):
            assert part in done.stderr


def test_the_most_slots_of_a_host_are_not_its_slots(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("a slots=8 max-slots=16\nb max_slots=16 slots=8\nc max-slots=16 slots=8\n")
    done = call("planner", "cluster", "import", str(tmp_path / "hosts"), "--node", "dgx-h100")
    assert tomllib.loads(done.stdout)["nodes"] == 3


@pytest.mark.parametrize(
    ("endpoint", "link_count", "messages"),
    [
        ("a[1-5]:9", 1, ["links[0].ends: no NIC has this number", "a1:9", "a NIC from 0 to 7"]),
        ("a[1-5]", 99, ["links[0].cables: more links than NIC ports", "99", "at most 16"]),
    ],
)
def test_nics_and_links_that_a_host_lacks_are_reported(
    endpoint: str, link_count: int, messages: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "wired.toml"
    file.write_text(
        'name = "w"\nnode = "dgx-h100"\n[[hosts]]\nname = "a[1-5]"\n[[switches]]\nname = "s"\n'
        f'[[links]]\nends = ["{endpoint}", "s"]\nbandwidth = "400Gb/s"\ncables = {link_count}\n'
    )
    done = call("plan", "llama-3-8b", "--cluster", str(file), "--global-batch", "64")
    assert done.returncode == 2
    for part in ["wired.toml", *messages]:
        assert part in done.stderr
