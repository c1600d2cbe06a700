"""Texts of the command line that have a grammar of their own, and the functions that read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import get_args


@dataclass(frozen=True)
class Text:
    """A type of text: samples, the signs that it is made of, and its reader."""

    samples: Sequence[str]
    signs: Sequence[str]
    read: Callable[[str], object]


_NUMBERS = ["0", "1", "8", "64", "9" * 20, "1e9", "1e400", "-1", "+", ".", "_", "٣", "²", "e", " "]


def _quantity(text: str) -> None:
    from planner.errors import InputError
    from planner.units import Dimension, parse_quantity

    for dimension in get_args(Dimension):
        for bare in (True, False):
            try:
                parse_quantity(text, dimension, allow_bare=bare)
            except InputError as error:
                assert str(error)


def _counts(text: str) -> None:
    """Every reader of numbers, lists and ranges of them."""
    from planner.errors import InputError
    from planner.request import values

    for read in (
        lambda: values.parse_global_batch(text, "--global-batch").count_sequences(4096),
        lambda: values.parse_seq_length(text, "--seq-length"),
        lambda: values.parse_number(text, "--nodes"),
        lambda: values.parse_run_tokens(text, "--tokens"),
        lambda: values.parse_allowed_values(text, "--tp"),
        lambda: values.parse_memory_limit(text, "--memory-limit"),
        lambda: values.parse_codes(text, "--recompute", ("none", "selective", "full")),
    ):
        try:
            read()
        except InputError as error:
            assert str(error)


def _failed_part(text: str) -> None:
    from planner.cluster.wired.failed_parts import apply_failed_parts, parse_failed_part

    apply_failed_parts(_wiring(), [parse_failed_part(text)])


@cache
def _wiring() -> object:
    from planner.request.inputs import read_cluster

    return read_cluster("dgx-h100", 4, None, ["node-3"]).healthy_wiring  # type: ignore[union-attr]


def _layout(text: str) -> None:
    from planner.request.values import parse_layouts
    from planner.trainers.pipeline_layout import parse_layout

    for layout in parse_layouts(text, "--layout"):
        parse_layout(layout).list_chunk_layers(61, 4, 2)


def _hostlist(text: str) -> None:
    from planner.cluster.wired.hostlist import compress_names, expand_hostlist

    names = expand_hostlist(text)
    if len(names) <= 1000 and not any(sign in name for name in names for sign in "[],"):
        assert set(expand_hostlist(",".join(compress_names(names)))) == set(names)


def _cluster_name(text: str) -> None:
    from planner.request.inputs import read_cluster, read_pools

    if read_pools(text) is None:
        read_cluster(text)


def _model_name(text: str) -> None:
    from planner.request.inputs import read_model

    read_model(text, None)


TEXTS_READ = {
    "quantity": Text(
        ["80GiB", "400Gb/s", "1.5T", "2us", "30d", "5y", "989TFLOP/s", "10.2kW", "70B", "2MUSD", "90%", "2x", "56g/kWh"],
        [*_NUMBERS, "GB", "/", "s", "b", "i", "k", "%", "$", "µ", "g/kWh"],
        _quantity,
    ),
    "count": Text(
        ["1024", "4M tokens", "256..4096", "1M..16M tokens", "8K", "4,8", "4..8", "1,2..4,8", "none,full", "15T"],
        [*_NUMBERS, ",", "..", "K", "M", "tokens", "full"],
        _counts,
    ),
    "fault": Text(
        ["node-3", "node-3:2", "node-3:2=0.5", "node-3 - leaf-0=50%", "node-[0-2]"],
        [*_NUMBERS, "node-", ":", "=", "%", " - ", "leaf-", "[", "]", ",", "-"],
        _failed_part,
    ),
    "hostlist": Text(
        ["a01", "a[01-16,20]", "rack[1-2]-n[0-7],login", "a[08-11]", "x[1-3]y[4-5]z"],
        [*_NUMBERS, "a", "[", "]", ",", "-", "[1-9]", "[0-999]"],
        _hostlist,
    ),
    "layout": Text(
        ["E4|4|3ML", "Et*2|(tt|)*29m|L", "auto,E4,4L", "first-3-last-5", "embedding-and-loss-as-layers"],
        [*_NUMBERS, "E", "t", "m", "L", "|", ",", "(", ")*", "*", "first-", "last-"],
        _layout,
    ),
    "cluster": Text(
        ["dgx-h100", "dgx-h100:32+dgx-a100:32", "dgx-h100+dgx-a100", "tpu-v4:4+dgx-h100:1", "gb200-nvl72:18+dgx-h100"],
        [*_NUMBERS, "dgx-h100", "tpu-v4", ":", "+", "-", "/", ".toml"],
        _cluster_name,
    ),
    "model": Text(
        ["70B", "llama-3-8b", "1.5T", "13b", "350M", "gpt-3-175b"],
        [*_NUMBERS, "B", "T", "M", "llama", "-", "/", ".json", "~"],
        _model_name,
    ),
}  # fmt: skip
