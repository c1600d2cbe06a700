"""`planner what-if`: plan again with things changed, and tell both plans side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options.grouped import grouped
from planner.cli.options.question import Files, Form, Output, Question, ask
from planner.cli.options.settings import OpenSettings, SpaceFile
from planner.cli.options.split import Pins, Split, read_pins
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.studies.changes import Change
    from planner.studies.what_if import Side

Changes = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="What is changed: an amount (accelerator.memory=141GiB), a factor (2x), a percentage (+20%). "
        "May be given several times.",
    ),
]


@grouped
def what_if(
    question: Question,
    changes: Changes,
    *,
    form: Form = Output.TABLE,
    files: Files = None,
    split: Split,
    settings: OpenSettings,
    space_file: SpaceFile = None,
) -> None:
    """Plan MODEL again with things changed.

    \b
    Examples:
      planner what-if llama-3-70b -c dgx-h100 --nodes 16 -b 512 --set fabric.bandwidth=2x
      planner what-if llama-3-70b -c dgx-h100 --nodes 16 -b 512 --set accelerator.memory=141GiB
      planner what-if 13B -c dgx-a100 --nodes 4 -b 512 --set cluster.nodes=2x --set accelerator.peak=-10%
    """
    from planner.cli.io.output import check_files, tell
    from planner.studies.changes import read_changes
    from planner.studies.what_if import what_if as compared

    wanted = check_files(files, read=question.files)
    pins, pairs = read_pins(split, settings, space_file), read_changes(changes)
    before = _side(question, pins)
    after, done = _changed(question, pins, before, pairs)
    document = compared(before, after, done)

    def text() -> str:
        from planner.report.views.what_if_text import what_if_text

        return what_if_text(document)

    tell(document, form.value, wanted, text)


def _side(question: Question, pins: Pins) -> Side:
    """One question with every combination of its settings. Raises InputError."""
    from planner.cost.strategies import FULL
    from planner.search.settings import check_settings, combinations
    from planner.studies.what_if import Side

    batches, cluster, space = ask(question, pins.allowed)
    if len(batches) > 1:
        key, value = "--global-batch", question.global_batch
        raise InputError("two plans have one batch each", key=key, value=value, expected="a single batch")
    check_settings(
        batches[0], pins.settings, pins.allowed["recompute"] or (FULL,), pins.allowed["zero_stage"] or (1,)
    )
    return Side(tuple(combinations(batches[0], pins.settings)), cluster, space)


def _changed(question: Question, pins: Pins, before: Side, pairs: list[tuple[str, str]]) -> tuple[Side, list[Change]]:
    """The question with what is asked changed first, then the figures of its cluster, in order."""
    from planner.studies.changes import QUESTIONS, Change, changed_cluster, check_key

    asked = [(key, text) for key, text in pairs if key in QUESTIONS]
    after = _asked_anew(question, pins, before, asked) if asked else before
    was, now = _options(before), _options(after)
    done = {key: Change(key, text, None, was[key], now[key]) for key, text in asked}
    cluster = after.cluster
    for key, text in pairs:
        if key not in QUESTIONS:
            precision = after.questions[0].precision
            check_key(key, cluster, precision)
            cluster, done[key] = changed_cluster(cluster, key, text, precision)
    return after.moved(cluster), [done[key] for key, _ in pairs]


def _options(side: Side) -> dict[str, int | str]:
    """What is asked, by the keys of its changes."""
    training = side.questions[0]
    return {
        "cluster.nodes": side.cluster.nodes,
        "training.global_batch": training.global_batch,
        "training.precision": training.precision,
        "model.seq_length": training.workload.seq_length,
    }


def _asked_anew(question: Question, pins: Pins, before: Side, asked: list[tuple[str, str]]) -> Side:
    """The question with other options. What is wrong with one is told as of its change."""
    from planner.studies.changes import QUESTIONS, changed_option

    was = _options(before)
    options: dict[str, str | None] = {}
    for key, text in asked:
        old = was[key]
        options[QUESTIONS[key]] = changed_option(key, text, old) if isinstance(old, int) else text
    if "nodes" in options:
        options["devices"] = None
    try:
        after = _side(replace(question, **options), pins)  # type: ignore[arg-type]
    except InputError as error:
        keys = {f"--{option.replace('_', '-')}": key for key, option in QUESTIONS.items()}
        raise error.relocate("--set", keys.get(error.key, error.key)) from None
    if after.cluster.devices_per_node != before.cluster.devices_per_node:
        expected = "whole nodes (--nodes) to begin with"
        raise InputError(
            "a part of one node has no others like it", origin="--set", key="cluster.nodes", expected=expected
        )
    return after
