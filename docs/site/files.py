"""The reference of the files that are read: the keys of each, and the figures that requirements compare."""

from __future__ import annotations

from docs.site.structs import Places, Struct, View, about, keys, place, reached
from docs.site.words import code, page, said, table
from planner.cli.completion.command_reference import describe_commands
from planner.cli.input.plan_list import list_plan_table_keys
from planner.cli.sweeps.grid import UNSWEPT_KEYS
from planner.cluster.model.spec import ClusterSpec
from planner.hardware.figures import SourcedFigure
from planner.request.options import OUTPUT_KEYS, list_option_keys
from planner.studies.conditions.figures import FIGURE_PREREQUISITES, PLAN_FIGURES
from planner.workload.operator_list.spec import OPERATOR_TYPES, OperatorListFile
from planner.workload.spec import ModelSpec

_FIGURE = (
    'A figure is a text with its unit, `"300GB/s"`, or a table with the number in SI, or the text, and its source:\n'
    '`{ value = 3e11, source = "guide" }`, `source` being a name of the file\'s `[sources]`.'
)


def pages() -> dict[str, str]:
    """Every page by its path."""
    models, clusters = _places("model.md", ModelSpec), _places("cluster.md", ClusterSpec)
    made = {
        "files/model.md": page(
            "A model's file",
            "A transformer, in TOML. [Plan a model of your own](../../how-to/models.md) has an example.",
            *_tables(ModelSpec, models, "model.md"),
        ),
        "files/operators.md": _operators(_places("operators.md", OperatorListFile)),
        "files/cluster.md": page(
            "A cluster's file",
            "In TOML or YAML. [Describe a cluster](../../how-to/clusters.md) has examples.",
            _FIGURE,
            *_tables(ClusterSpec, clusters, "cluster.md"),
        ),
        "files/options.md": _options(),
        "files/requirements.md": _requirements(),
    }
    titles = (
        (f"[{text.splitlines()[0].removeprefix('# ')}]({name.removeprefix('files/')})",)
        for name, text in made.items()
    )
    return made | {
        "files/index.md": page("Files", "An unknown key is refused, with the nearest one.", table(("file",), titles))
    }


def _places(name: str, root: Struct) -> Places:
    return {one: place(name, _heading(path)) for one, path in reached(root).items()}


def _heading(path: str) -> str:
    return code(path) if path else "At the top"


def _tables(root: Struct, places: Places, name: str) -> list[str]:
    blocks = []
    for one, path in reached(root).items():
        if one is not SourcedFigure:
            blocks += [f"## {_heading(path)}", about(one), keys(one, View(places, name))]
    return blocks


def _operators(places: Places) -> str:
    blocks = _tables(OperatorListFile, places, "operators.md")
    for kind in dict.fromkeys(OPERATOR_TYPES.values()):
        names = [code(name) for name, one in OPERATOR_TYPES.items() if one is kind]
        blocks += [f"## {', '.join(names)}", about(kind), keys(kind, View(places, "operators.md"))]
    intro = "In TOML. [Your own list of operators](../../how-to/models.md#your-own-list-of-operators) has an example."
    return page("A model's file as a list of operators", intro, *blocks)


def _options() -> str:
    """Keys of the files that hold options of `plan`: check files, sweeps."""
    does = {name: one.description for one in describe_commands()["plan"].options for name in one.names}
    known = list_option_keys()
    rows = []
    for key in known:
        switch = f"--{key.replace('_', '-')}"
        swept = "" if key in UNSWEPT_KEYS else "yes"
        if key not in OUTPUT_KEYS:
            checked = "yes" if key in list_plan_table_keys() else ""
            rows.append((code(key), checked, swept, said(does.get(switch, "The model: a name, a file, or a size."))))
    intro = (
        "Files of `planner check` (`[defaults]`, `[[plans]]`, beside `name` and `require`) and of `planner sweep`\n"
        "(`[grid]`, `[fixed]`, `[[exclude]]`) hold options of `plan`, with underlines or dashes. See\n"
        "[Hold plans against requirements](../../how-to/ci.md) and [Plan a whole grid](../../how-to/sweeps.md)."
    )
    return page("Files of options: checks and sweeps", intro, table(("key", "check", "sweep", "what it is"), rows))


def _requirements() -> str:
    rows = [
        (
            code(one.name),
            code(one.unit),
            said(one.description + (f": {', '.join(one.choices)}" if one.choices else "")),
            ", ".join(one.prerequisites),
        )
        for one in PLAN_FIGURES.values()
    ]
    needs = [(name, said(how)) for name, (_, how) in FIGURE_PREREQUISITES.items()]
    return page(
        "Figures that requirements compare",
        "`--require`, or `require` in a check's file: [how to write one](../../how-to/ci.md).\n"
        "`planner diff` has each as `base.NAME`, `head.NAME`, and as a share `change.NAME`.",
        table(("figure", "unit", "what it is", "needs"), rows),
        "## What a figure may need",
        table(("need", "how it is met"), needs),
    )
