"""Options that several commands have: the format and the files of a document, the requirements on its best plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from planner.cli.lazy import import_lazily
from planner.errors import RequirementNotMet
from planner.request.options import OUTPUT_ENDINGS, Completion, Option, find_option
from planner.request.values import parse_choice, parse_number, parse_switch

with import_lazily():
    from planner.documents import figures, heterogeneous, plan
    from planner.studies.conditions import evaluate, parse

FORMAT = find_option("format")
OUTPUT = find_option("output")
REQUIRE = find_option("require")
DOCUMENT_OPTIONS = (FORMAT, OUTPUT)


def declare_file_argument(name: str, metavar: str, help_text: str, *endings: str) -> Option:
    """A required file that a command reads."""
    return Option(
        name,
        "Arguments",
        help_text,
        metavar=metavar,
        is_argument=True,
        is_required=True,
        is_path=True,
        completion=Completion(endings=endings),
    )


def declare_choice(name: str, group: str, help_text: str, *choices: str, default: str | None = None) -> Option:
    """An option whose values are a few names."""
    parse = partial(parse_choice, names=choices)
    return Option(name, group, help_text, parse, choices=choices, default=default)


def declare_switch(name: str, group: str, help_text: str, *flags: str, default: bool = False) -> Option:
    """An option without a value."""
    return Option(name, group, help_text, parse_switch, flags, default=default, is_switch=True)


PLAN_FILE = declare_file_argument(
    "plan_file", "PLAN.json", "The output of `plan` or `estimate` with --format json.", ".json"
)
PLAN_NUMBER = Option(
    "number", "Plan", "Number of the plan in the document.", partial(parse_number, maximum=1000), ("--plan",),
    "INTEGER", default="1",
)  # fmt: skip
MODEL_OVERRIDE = Option(
    "model", "Plan", "File of the model, for a plan of a model file: the document has only its name.",
    metavar="MODEL", completion=find_option("model").completion,
)  # fmt: skip
CLUSTER_OVERRIDE = Option(
    "cluster", "Plan", "File of the cluster, for a plan of a cluster file: the document has only its name.",
    flags=("--cluster", "-c"), metavar="CLUSTER", completion=find_option("cluster").completion,
)  # fmt: skip
CI = declare_switch(
    "ci", "Output", "Report to GitHub Actions or GitLab CI when run there.", "--ci/--no-ci", default=True
)


def extend_output(*endings: str, help_text: str, flags: tuple[str, ...] = ()) -> Option:
    """The option `-o` with further endings, and further names."""
    return replace(
        OUTPUT,
        help=OUTPUT.help.replace("ending: ", f"ending: {help_text}, "),
        flags=("--output", *flags, "-o"),
        completion=Completion(endings=(*endings, *(ending for ending in OUTPUT_ENDINGS if ending not in endings))),
    )


def parse_conditions(texts: Sequence[str]) -> list[parse.Condition]:
    """The conditions of `--require`. Raises InputError."""
    return [parse.parse_condition(text) for text in texts]


def check_conditions(
    conditions: Sequence[parse.Condition], document: plan.PlanDocument | heterogeneous.HeterogeneousDocument
) -> None:
    """Raise RequirementNotMet that names each condition that the best plan does not meet."""
    if not conditions:
        return
    figure_values = figures.read_figure_values(document)
    evaluated = [evaluate.evaluate_condition(condition, figure_values) for condition in conditions]
    unmet = [
        evaluate.format_unmet_condition(item.condition, item.explanation) for item in evaluated if not item.is_met
    ]
    if unmet:
        raise RequirementNotMet("\n".join(unmet))
