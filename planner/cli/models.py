"""`planner models`: the models that are known by name."""

from __future__ import annotations

import typer

models_app = typer.Typer(help="The models that are known by name.", no_args_is_help=True, rich_markup_mode=None)


@models_app.command("list")
def list_models() -> None:
    """List the presets with their sizes, and the tokens of a sequence or what else a batch counts.

    \b
    Examples:
      planner models list
    """
    from planner.cli.output import write
    from planner.report.listing import listing
    from planner.units import format_parameters
    from planner.workload.build import build_workload
    from planner.workload.presets import preset, preset_names

    rows = []
    for name in preset_names():
        workload = build_workload(preset(name))
        sizes = [format_parameters(workload.parameters), format_parameters(workload.active_parameters)]
        length = f"{workload.seq_length:,}" if workload.has_tokens else workload.sample
        rows.append([name, workload.title, *sizes, str(workload.layer_count), length])
    write(listing(("name", "model", "parameters", "active", "layers", "sequence"), rows, numbers_from=2))


@models_app.command("families")
def list_families() -> None:
    """List the Hugging Face model types whose config.json is read.

    \b
    Examples:
      planner models families
    """
    from planner.cli.output import write
    from planner.workload.huggingface import FAMILIES

    write("".join(f"{name}\n" for name in FAMILIES))
