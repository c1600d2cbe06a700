"""What can be typed in a place of the command line, for a shell's completion: read from folders, nothing is computed.

Every list is held to what the commands take by tests/cli/test_completion.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations, permutations
from pathlib import Path

_PACKAGE = Path(__file__).parents[2]
_MODELS = _PACKAGE / "workload" / "models"
_INSTALLED = _PACKAGE / "hardware_db"
_DATABASE = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "hardware_db"
_TITLE = re.compile(r'^title = "(.*)"$', re.MULTILINE)
_DESCRIPTIONS = (".toml", ".yaml", ".yml", ".json")

Words = Iterable[tuple[str, str]]
"""Words with what they mean, where that is known."""


@dataclass(frozen=True)
class Place:
    """What can stand in a place: the words after what is typed, and files with these endings (None: no files).

    `joins`: signs that may join several words.
    """

    words: Callable[[], Words] = tuple
    joins: str = ""
    endings: tuple[str, ...] | None = None

    def completed(self, typed: str) -> Iterator[tuple[str, str]]:
        """The whole words that `typed` may become."""
        cut = max((typed.rfind(sign) + 1 for sign in self.joins), default=0)
        before, begun = typed[:cut], typed[cut:].casefold()
        # of dgx-h100:32 the kind
        given = (
            {one.split(":")[0].casefold() for one in re.split(f"[{re.escape(self.joins)}]", before)} if cut else set()
        )
        for word, meaning in self.words():
            if word.casefold().startswith(begun) and word.casefold() not in given:
                yield f"{before}{word}", meaning


def models() -> Words:
    """The presets."""
    return _titled(_MODELS)


def clusters() -> Words:
    """The presets."""
    return _titled(_DATABASE / "clusters")


def accelerators() -> Words:
    """All of hardware_db."""
    return _titled(_DATABASE / "accelerators")


def nodes() -> Words:
    """All of hardware_db."""
    return _titled(_DATABASE / "nodes")


def _titled(folder: Path) -> Words:
    for path in sorted(folder.glob("*.toml")):
        found = _TITLE.search(path.read_text("utf-8"))
        yield path.stem, found[1] if found else ""


def grids() -> Words:
    """Countries, parts of them, and clouds' regions."""
    import tomllib

    files = [tomllib.loads(path.read_text("utf-8")) for path in sorted((_DATABASE / "grids").glob("*.toml"))]
    for file in files:
        yield from ((name, grid["title"]) for name, grid in sorted(file.get("grids", {}).items()))
        yield from ((name, f"grid {grid}") for name, grid in sorted(file.get("regions", {}).items()))


def of_accelerators(key: str) -> Words:
    """The values that accelerators have of a key: a text, or a list of texts."""
    wanted = re.compile(rf"^{key} = (.*)$", re.MULTILINE)
    found: set[str] = set()
    for path in (_DATABASE / "accelerators").glob("*.toml"):
        line = wanted.search(path.read_text("utf-8"))
        found.update(re.findall(r'"([^"]*)"', line[1]) if line else ())
    return [(one, "") for one in sorted(found)]


def training_precisions() -> Words:
    """Number formats that a model can be trained in."""
    from planner.cli.input.inputs import TRAINING_PRECISIONS

    return [(one, "") for one in TRAINING_PRECISIONS]


def precisions() -> Words:
    """Number formats that a part can have a peak for."""
    from typing import get_args

    from planner.hardware.accelerator import Precision

    return [(one, "") for one in get_args(Precision)]


def _plain(*words: str) -> Callable[[], Words]:
    return lambda: [(word, "") for word in words]


OFFLOADED = ("optimizer", "activations", "weights")
ORDERS = tuple("-".join(names) for names in permutations(("tp", "cp", "dp", "pp")))
OBJECTIVES = ("step-time", "tokens-per-s-per-device", "cost", "energy", "memory-headroom")
OPTIMIZERS = ("adamw", "adam8bit", "lamb", "sgd", "adafactor", "muon")
IMPORTS = ("auto", "nvidia-smi", "slurm", "ibnetdiscover", "links", "hostfile", "kubernetes", "nccl", "graph")
CHANGES = (
    "accelerator.memory=", "accelerator.memory_bandwidth=", "accelerator.peak=", "accelerator.power=",
    "accelerator.price=", "node.link.bandwidth=", "node.link.latency=", "fabric.bandwidth=", "fabric.latency=",
    "host.memory=", "host.bandwidth=", "host.link=", "cluster.nodes=", "training.global_batch=",
    "training.precision=", "model.seq_length=",
)  # fmt: skip
_OFFLOADS = ("none", *("+".join(some) for count in (1, 2, 3) for some in combinations(OFFLOADED, count)))

MODEL = Place(models, endings=(".json", ".toml"))
CLUSTER = Place(clusters, joins="+", endings=_DESCRIPTIONS)

PLACES: Mapping[str, Place] = {
    "MODEL": MODEL,
    "CLUSTER": Place(clusters, endings=_DESCRIPTIONS),
    "NAME": Place(accelerators),
    "NAME...": Place(accelerators),
    "PLAN.json": Place(endings=(".json",)),
    "BASE.json": Place(endings=(".json",)),
    "HEAD.json": Place(endings=(".json",)),
    "PLANS.toml": Place(endings=(".toml",)),
    "SWEEP.toml": Place(endings=(".toml",)),
    "RESULTS": Place(endings=(".parquet", ".csv", ".jsonl")),
    "FILE...": Place(endings=()),
    "--model": MODEL,
    "--distil": MODEL,
    "--cluster": CLUSTER,
    "--on": Place(clusters, endings=_DESCRIPTIONS),
    "--node": Place(nodes),
    "--accelerator": Place(accelerators),
    "--grid": Place(grids),
    "--precision": Place(training_precisions),
    "--objective": Place(_plain(*OBJECTIVES)),
    "--pareto": Place(_plain(*OBJECTIVES), joins=","),
    "--zero": Place(_plain("0", "1", "2", "3"), joins=","),
    "--recompute": Place(_plain("none", "selective", "full"), joins=","),
    "--schedule": Place(_plain("1f1b", "zero-bubble"), joins=","),
    "--tp-overlap": Place(_plain("no", "yes"), joins=","),
    "--dp-overlap": Place(_plain("yes", "no"), joins=","),
    "--cp-exchange": Place(_plain("ring", "all-gather", "all-to-all"), joins=","),
    "--gradients": Place(_plain("fp32", "bf16"), joins=","),
    "--communication": Place(_plain("fp32", "bf16"), joins=","),
    "--offload": Place(_plain(*_OFFLOADS), joins=","),
    "--order": Place(_plain("all", *ORDERS), joins=","),
    "--shard-group": Place(_plain("all"), joins=","),
    "--recompute-layers": Place(_plain("all"), joins=","),
    "--optimizer": Place(_plain(*OPTIMIZERS)),
    "--prune": Place(_plain("2:4", "unstructured:0.5")),
    "--lora": Place(_plain("16", "16:4bit", "64", "64:4bit")),
    "--set": Place(_plain(*CHANGES)),
    "--from": Place(_plain(*IMPORTS)),
    "--vendor": Place(partial(of_accelerators, "vendor")),
    "--kind": Place(partial(of_accelerators, "kind")),
    "--place": Place(partial(of_accelerators, "place")),
    "--framework": Place(partial(of_accelerators, "frameworks")),
    "--cloud": Place(partial(of_accelerators, "clouds")),
    "--sort": Place(_plain("peak", "memory", "bandwidth", "power", "price", "year", "name")),
    "--space": Place(endings=(".toml",)),
    "--runs": Place(endings=(".csv",)),
}
"""By an argument's name in the usage, or an option. What has a list of values of its own is not among them."""

OTHER_PLACES: Mapping[tuple[str, str], Place] = {
    ("hardware list", "--precision"): Place(precisions),
    ("hardware compare", "--precision"): Place(precisions),
}
"""Where an option of a command is not what the others call so."""
