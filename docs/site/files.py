"""The reference of input files: the keys of each, and the figures of requirements."""

from __future__ import annotations

from docs.site.structs import (
    PageView,
    Struct,
    StructLocations,
    build_location,
    collect_structs,
    format_docstring,
    format_key_table,
)
from docs.site.words import escape_text, format_code, format_page, format_table
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
    'A figure is a text with its unit, `"300GB/s"`, or a table with its source and the number in SI or the text:\n'
    '`{ value = 3e11, source = "guide" }`, where `source` is an entry of the file\'s `[sources]`.'
)


def build_pages() -> dict[str, str]:
    """Every page by its path."""
    models, clusters = _locate_structs("model.md", ModelSpec), _locate_structs("cluster.md", ClusterSpec)
    pages = {
        "files/model.md": format_page(
            "Model file",
            "A transformer, in TOML. [Plan a model of your own](../../how-to/models.md) has an example.",
            *_build_key_tables(ModelSpec, models, "model.md"),
        ),
        "files/operators.md": _build_operators_page(_locate_structs("operators.md", OperatorListFile)),
        "files/cluster.md": format_page(
            "Cluster file",
            "In TOML or YAML. [Describe a cluster](../../how-to/clusters.md) has examples.",
            _FIGURE,
            *_build_key_tables(ClusterSpec, clusters, "cluster.md"),
        ),
        "files/options.md": _build_options_page(),
        "files/requirements.md": _build_requirements_page(),
    }
    titles = (
        (f"[{text.splitlines()[0].removeprefix('# ')}]({name.removeprefix('files/')})",)
        for name, text in pages.items()
    )
    return pages | {
        "files/index.md": format_page(
            "Files", "An unknown key is an error that names the nearest key.", format_table(("file",), titles)
        )
    }


def _locate_structs(name: str, root: Struct) -> StructLocations:
    return {struct: build_location(name, _format_heading(path)) for struct, path in collect_structs(root).items()}


def _format_heading(path: str) -> str:
    return format_code(path) if path else "At the top"


def _build_key_tables(root: Struct, places: StructLocations, name: str) -> list[str]:
    blocks = []
    for struct, path in collect_structs(root).items():
        if struct is not SourcedFigure:
            blocks += [
                f"## {_format_heading(path)}",
                format_docstring(struct),
                format_key_table(struct, PageView(places, name)),
            ]
    return blocks


def _build_operators_page(places: StructLocations) -> str:
    blocks = _build_key_tables(OperatorListFile, places, "operators.md")
    for kind in dict.fromkeys(OPERATOR_TYPES.values()):
        names = [format_code(name) for name, operator_type in OPERATOR_TYPES.items() if operator_type is kind]
        blocks += [
            f"## {', '.join(names)}",
            format_docstring(kind),
            format_key_table(kind, PageView(places, "operators.md")),
        ]
    intro = "In TOML. [Your own list of operators](../../how-to/models.md#your-own-list-of-operators) has an example."
    return format_page("Model file as a list of operators", intro, *blocks)


def _build_options_page() -> str:
    """Keys of the files with options of `plan`: check files, sweeps."""
    effects = {name: option.description for option in describe_commands()["plan"].options for name in option.names}
    known = list_option_keys()
    rows = []
    for key in known:
        switch = f"--{key.replace('_', '-')}"
        swept = "" if key in UNSWEPT_KEYS else "yes"
        if key not in OUTPUT_KEYS:
            checked = "yes" if key in list_plan_table_keys() else ""
            rows.append(
                (
                    format_code(key),
                    checked,
                    swept,
                    escape_text(effects.get(switch, "The model: a name, a file, or a size.")),
                )
            )
    intro = (
        "Files of `planner check` (`[defaults]`, `[[plans]]`, beside `name` and `require`) and of `planner sweep`\n"
        "(`[grid]`, `[fixed]`, `[[exclude]]`) have the options of `plan` as keys, with underscores or dashes.\nSee "
        "[Check plans in CI](../../how-to/ci.md) and [Plan a whole grid](../../how-to/sweeps.md)."
    )
    return format_page(
        "Files of options: checks and sweeps", intro, format_table(("key", "check", "sweep", "meaning"), rows)
    )


def _build_requirements_page() -> str:
    rows = [
        (
            format_code(figure.name),
            format_code(figure.unit),
            escape_text(figure.description + (f": {', '.join(figure.choices)}" if figure.choices else "")),
            ", ".join(figure.prerequisites),
        )
        for figure in PLAN_FIGURES.values()
    ]
    needs = [(name, escape_text(how)) for name, (_, how) in FIGURE_PREREQUISITES.items()]
    return format_page(
        "Figures of requirements",
        "`--require`, or `require` in a check file: [how to write a requirement](../../how-to/ci.md).\n"
        "`planner diff` has each figure as `base.NAME`, `head.NAME` and, as a relative change, `change.NAME`.",
        format_table(("figure", "unit", "meaning", "requires"), rows),
        "## Prerequisites of figures",
        format_table(("prerequisite", "option"), needs),
    )
