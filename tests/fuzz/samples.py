"""Files to damage: presets, fixtures of the tests, and a few small files that have every key."""

from __future__ import annotations

import io
import json
import tomllib
from pathlib import Path

from planner.documents.check import SCHEMA_VERSION as CHECK_VERSION
from tests.cli.run import call
from tests.examples import DEFAULTS, LAB, WIRED
from tests.fuzz.trees import build_tree, render_tree

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures"

_POOLS = """
name = "grown"
pools = [{ node = "dgx-h100", nodes = 4 }, { node = "dgx-a100", nodes = 8 }]
fabric = [{ name = "leaf", nodes = 4 }, { name = "spine" }]
"""
_MORE = """
[reliability]
device_mtbf = "9y"
node_mtbf = "3y"
software_mtbf = "5y"
detection = "2min"
restart = "5min"
repair = "2d"
spares = 2

[storage]
write = "100GB/s"
read = "200GB/s"
pause = "1s"
asynchronous = true

[[faults]]
part = "n0"
rate = 0.5
"""
SPACE = """
tp = [4, 8]
pp = "2..8"
recompute = ["none", "selective"]
tp-overlap = true
order = "all"
micro_batch = "1,2"
offload = "none,optimizer+activations"
shard-group = "all,8"
"""
SWEEP = """
[[grid]]
model = ["bert-base", "llama-3-8b"]
cluster = ["dgx-a100", "dgx-h100"]
nodes = { from = 1, to = 8, factor = 2 }
global_batch = [64, "65536 tokens", 99]

[fixed]
tp = [1, 2]
pp = 1
sequence_parallel = true

[[exclude]]
model = "bert-base"
nodes = [1, 2]
"""
CHECK = """
[defaults]
cluster = "dgx-h100"
global_batch = 64
require = "mfu >= 30%"

[[plans]]
name = "one"
model = "llama-3-8b"
nodes = 2
tp = [1, 2]
sequence-parallel = true
micro_batch = "1..2"
require = ["step_time_s < 20s", "memory.headroom >= 1GiB or not strategy.tp == 1"]
"""
RESULTS = """model,cluster,nodes,global_batch,mfu,step_time_s,fault
bert-base,dgx-a100,1,64,0.31,0.1,
bert-base,dgx-a100,2,64,0.29,0.06,
bert-large,dgx-h100,1,64,,,no plan fits
bert-large,dgx-h100,2,64,0.4,1e-2,
"""
REQUIREMENTS = [
    "mfu >= 40%", "step_time_s < 12.5s and memory.total <= 70GiB", "not (devices > 64 or strategy.tp != 8)",
    "step_time_s / tokens_per_step < 2 * 3 s", "strategy.recompute == 'full'", "-1 <= +2", "((strategy.tp)) == 1", "strategy.tp * strategy.pp <= 8",
]  # fmt: skip
REQUIREMENT_SIGNS = [
    "(", ")", " and ", " or ", " not ", "<", "<=", "==", "!=", ">=", "+", "-", "*", "/", "%", "'", '"', ".", "1", "0",
    "mfu", "tp", "GiB", "s", "true", "(" * 200, "-" * 200, "not " * 200, "1e999", "9" * 400,
]  # fmt: skip
_TRANSFORMERS = ("gpt-3-175b", "llama-3-70b", "mixtral-8x7b", "deepseek-v3", "gpt-oss-20b", "t5-11b", "vit-h-14")
_NETWORKS = ("resnet-50", "wavenet", "inception-v3")
_CLUSTERS = ("dgx-h100", "gb200-nvl72", "tpu-v4", "frontier", "a100-pcie", "dgx-v100", "alps", "aws-p5")


def _read_presets(names: tuple[str, ...]) -> list[str]:
    return [(ROOT / "planner" / "workload" / "models" / f"{name}.toml").read_text() for name in names]


def read_models() -> list[str]:
    """Presets of transformers."""
    return _read_presets(_TRANSFORMERS)


def read_networks() -> list[str]:
    """Presets that are lists of operators."""
    return _read_presets(_NETWORKS)


def read_configs() -> list[str]:
    """Published config.json files."""
    return [path.read_text() for path in sorted((FIXTURES / "configs").glob("*/config.json"))]


def read_clusters() -> list[str]:
    """Presets with their nodes and parts written out, as a user's file has them; wirings, pools, failures."""
    lab = LAB.format(**DEFAULTS)
    own = lab.split("[[fabric]]")[0].replace("nodes = 4\n", "")
    with_failures = lab + _MORE.split("[[faults]]")[0]
    return [*(_write_out(name) for name in _CLUSTERS), with_failures, own + WIRED.format(up=800) + _MORE, _POOLS]


def _write_out(name: str) -> str:
    database = ROOT / "hardware_db"
    cluster = tomllib.loads((database / "clusters" / f"{name}.toml").read_text())
    node = tomllib.loads((database / "nodes" / f"{cluster['node']}.toml").read_text())
    if isinstance(node["accelerator"], str):
        part = tomllib.loads((database / "accelerators" / f"{node['accelerator']}.toml").read_text())
        node["accelerator"] = part
    cluster["node"] = node
    return render_tree(build_tree(cluster), "toml")  # type: ignore[arg-type]


def read_descriptions() -> list[str]:
    """Descriptions of clusters by their tools; long ones truncated, so that damage hits something that matters."""
    files = sorted(path for path in (FIXTURES / "clusters").iterdir() if path.name != "README.md")
    return [path.read_text("utf-8", "replace")[:6000] for path in files]


def read_descriptions_of(format_name: str) -> list[str]:
    """The descriptions of a format; for `auto` all."""
    from planner.cluster.importers.detect_format import detect_description_format

    return [text for text in read_descriptions() if format_name in ("auto", detect_description_format(text))]


def read_tables() -> list[str]:
    """Tables of measured runs, of both forms: the head and one row each."""
    tables = []
    for name, step in (("measured_runs.csv", 3), ("runs.csv", 5)):
        lines = (ROOT / "tests" / "published" / name).read_text("utf-8").splitlines(keepends=True)
        tables += [lines[0] + line for line in lines[1::step]]
    return tables


def read_plans() -> list[str]:
    """A plan document."""
    return [(FIXTURES / "plan.json").read_text()]


def compute_plans() -> list[str]:
    """Plan documents of this version, which it accepts."""
    arguments = (
        "bert-base",
        "--cluster",
        "dgx-a100",
        "--nodes",
        "1",
        "--global-batch",
        "64",
        "--tp",
        "2",
        "--format",
        "json",
    )
    plan_options = (("--pp", "2", "--zero", "1"), ("--zero", "3", "--recompute", "full", "--tokens", "1B"))
    return [call("planner", "estimate", *arguments, *options).stdout for options in plan_options]


def read_documents() -> list[str]:
    """Documents of `planner plan` and of `planner check`: inputs of `planner diff`."""
    plan = json.loads(read_plans()[0])
    met = {"requirement": "mfu > 1%", "line": 3, "met": True, "found": [{"name": "mfu", "value": 0.4}], "told": ""}
    part = {"name": "one", "line": 1, "outcome": "met", "obstacle": "", "requirements": [met], "plan": plan}
    whole = {"schema_version": CHECK_VERSION, "file": "a.toml", "outcome": "met", "checked": [part | {"mixed": None}]}
    return [read_plans()[0], json.dumps(whole)]


def read_results() -> list[str]:
    """Tables of a sweep as JSON Lines."""
    head, *lines = (line.split(",") for line in RESULTS.splitlines())
    rows = [dict(zip(head, (_number(cell) for cell in line), strict=True)) for line in lines]
    return ["\n".join(map(json.dumps, rows))]


def _number(cell: str) -> float | str | None:
    try:
        return float(cell) if cell else None
    except ValueError:
        return cell


def read_parquet() -> list[bytes]:
    """A table of a sweep in the binary format."""
    import pyarrow
    from pyarrow import parquet

    out = io.BytesIO()
    columns = {"model": ["bert-base", "bert-large", "ß"], "nodes": [1, 2, 4], "mfu": [0.31, None, 0.4]}
    parquet.write_table(pyarrow.table(columns), out, compression="zstd")
    return [out.getvalue()]
