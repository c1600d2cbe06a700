"""Words for a shell's completion of values, read from the folders of the databases.

tests/cli/test_completion.py compares every list with the values that the commands accept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from planner.request.options import CLUSTER_ENDINGS, OPTIONS, Completion, Option

_PACKAGE_FOLDER = Path(__file__).parents[2]
_MODELS_FOLDER = _PACKAGE_FOLDER / "workload" / "models"
_INSTALLED_DATABASE = _PACKAGE_FOLDER / "hardware_db"
_DATABASE_FOLDER = _INSTALLED_DATABASE if _INSTALLED_DATABASE.is_dir() else _PACKAGE_FOLDER.parent / "hardware_db"
_TITLE_PATTERN = re.compile(r'^title = "(.*)"$', re.MULTILINE)

WordMeanings = Iterable[tuple[str, str]]
"""Words with their meanings, if known."""


@dataclass(frozen=True)
class CompletionSource:
    """The completions at a place: the words for a typed prefix, and files with these endings (None: no files).

    `separators`: characters that may join several words.
    """

    word_source: Callable[[], WordMeanings] = tuple
    separators: str = ""
    suffixes: tuple[str, ...] | None = None

    def complete_word(self, typed: str) -> Iterator[tuple[str, str]]:
        """The whole words that `typed` may become."""
        prefix_length = max((typed.rfind(separator) + 1 for separator in self.separators), default=0)
        prefix, partial_word = typed[:prefix_length], typed[prefix_length:].casefold()
        # the preset of dgx-h100:32
        used_words = (
            {item.split(":")[0].casefold() for item in re.split(f"[{re.escape(self.separators)}]", prefix)}
            if prefix_length
            else set()
        )
        for word, meaning in self.word_source():
            if word.casefold().startswith(partial_word) and word.casefold() not in used_words:
                yield f"{prefix}{word}", meaning


def read_model_words() -> WordMeanings:
    """The presets."""
    return _read_titled_files(_MODELS_FOLDER)


def read_cluster_words() -> WordMeanings:
    """The presets."""
    return _read_titled_files(_DATABASE_FOLDER / "clusters")


def read_accelerator_words() -> WordMeanings:
    """All of hardware_db."""
    return _read_titled_files(_DATABASE_FOLDER / "accelerators")


def read_node_words() -> WordMeanings:
    """All of hardware_db."""
    return _read_titled_files(_DATABASE_FOLDER / "nodes")


def _read_titled_files(folder: Path) -> WordMeanings:
    for path in sorted(folder.glob("*.toml")):
        title_match = _TITLE_PATTERN.search(path.read_text("utf-8"))
        yield path.stem, title_match[1] if title_match else ""


def read_grid_words() -> WordMeanings:
    """Electricity grids: countries, parts of them, and regions of clouds."""
    import tomllib

    files = [tomllib.loads(path.read_text("utf-8")) for path in sorted((_DATABASE_FOLDER / "grids").glob("*.toml"))]
    for file in files:
        yield from ((name, grid["title"]) for name, grid in sorted(file.get("grids", {}).items()))
        yield from ((name, f"grid {grid}") for name, grid in sorted(file.get("regions", {}).items()))


def read_accelerator_values(key: str) -> WordMeanings:
    """The values of a key in all accelerator files: a text, or a list of texts."""
    key_pattern = re.compile(rf"^{key} = (.*)$", re.MULTILINE)
    values: set[str] = set()
    for path in (_DATABASE_FOLDER / "accelerators").glob("*.toml"):
        line = key_pattern.search(path.read_text("utf-8"))
        values.update(re.findall(r'"([^"]*)"', line[1]) if line else ())
    return [(item, "") for item in sorted(values)]


def list_peak_precision_words() -> WordMeanings:
    """Number formats for which an accelerator can have a peak."""
    from typing import get_args

    from planner.hardware.accelerator import Precision

    return [(precision, "") for precision in get_args(Precision)]


def _make_word_source(*words: str) -> Callable[[], WordMeanings]:
    return lambda: [(word, "") for word in words]


IMPORT_FORMATS = ("auto", "nvidia-smi", "slurm", "ibnetdiscover", "links", "hostfile", "kubernetes", "nccl", "graph")
CHANGE_KEYS = (
    "accelerator.memory=", "accelerator.memory_bandwidth=", "accelerator.peak=", "accelerator.power=",
    "accelerator.price=", "node.link.bandwidth=", "node.link.latency=", "fabric.bandwidth=", "fabric.latency=",
    "host.memory=", "host.bandwidth=", "host.link=", "cluster.nodes=", "training.global_batch=",
    "training.precision=", "model.seq_length=",
)  # fmt: skip
_WORD_SOURCES: Mapping[str, Callable[[], WordMeanings]] = {
    "models": read_model_words,
    "clusters": read_cluster_words,
    "grids": read_grid_words,
}
"""The named sources of the table of options."""


def _build_completion_source(option: Option) -> CompletionSource:
    """The completions of the value of an option of the table."""
    completion = option.completion or Completion(option.choices)
    words = _WORD_SOURCES[completion.source] if completion.source else _make_word_source(*completion.words)
    return CompletionSource(words, completion.joins, completion.endings)


COMPLETION_SOURCES: Mapping[str, CompletionSource] = {
    **{
        option.key: _build_completion_source(option)
        for option in OPTIONS
        if option.completion is not None or option.choices
    },
    "CLUSTER": CompletionSource(read_cluster_words, suffixes=CLUSTER_ENDINGS),
    "NAME": CompletionSource(read_accelerator_words),
    "NAME...": CompletionSource(read_accelerator_words),
    "PLAN.json": CompletionSource(suffixes=(".json",)),
    "BASE.json": CompletionSource(suffixes=(".json",)),
    "HEAD.json": CompletionSource(suffixes=(".json",)),
    "PLANS.toml": CompletionSource(suffixes=(".toml",)),
    "SWEEP.toml": CompletionSource(suffixes=(".toml",)),
    "RESULTS": CompletionSource(suffixes=(".parquet", ".csv", ".jsonl")),
    "FILE...": CompletionSource(suffixes=()),
    "--model": CompletionSource(read_model_words, suffixes=(".json", ".toml")),
    "--on": CompletionSource(read_cluster_words, suffixes=CLUSTER_ENDINGS),
    "--node": CompletionSource(read_node_words),
    "--accelerator": CompletionSource(read_accelerator_words),
    "--set": CompletionSource(_make_word_source(*CHANGE_KEYS)),
    "--from": CompletionSource(_make_word_source(*IMPORT_FORMATS)),
    "--vendor": CompletionSource(partial(read_accelerator_values, "vendor")),
    "--kind": CompletionSource(partial(read_accelerator_values, "kind")),
    "--place": CompletionSource(partial(read_accelerator_values, "place")),
    "--cloud": CompletionSource(partial(read_accelerator_values, "clouds")),
    "--sort": CompletionSource(_make_word_source("peak", "memory", "bandwidth", "power", "price", "year", "name")),
    "--runs": CompletionSource(suffixes=(".csv",)),
}
"""Completions by an argument's name in the usage, or by an option; options with choices are not among them."""

_FRAMEWORK_SOURCE = CompletionSource(partial(read_accelerator_values, "frameworks"))
COMMAND_COMPLETION_SOURCES: Mapping[tuple[str, str], CompletionSource] = {
    ("hardware list", "--precision"): CompletionSource(list_peak_precision_words),
    ("hardware list", "--framework"): _FRAMEWORK_SOURCE,
    ("compare", "--framework"): _FRAMEWORK_SOURCE,
    ("hardware compare", "--precision"): CompletionSource(list_peak_precision_words),
}
"""Completions for options of a command that differ from those of the same name elsewhere."""
