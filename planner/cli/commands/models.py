"""`planner models`: the models that are known by name."""

from __future__ import annotations

import typer

from planner.cli.options.question import Files, Form, Output

models_app = typer.Typer(help="The models that are known by name.", no_args_is_help=True, rich_markup_mode=None)


@models_app.command("list")
def list_models(form: Form = Output.TABLE, files: Files = None) -> None:
    """List the presets with their sizes, and the tokens of a sequence or what else a batch counts.

    \b
    Examples:
      planner models list
    """
    from planner.cli.io.lists import tell_list
    from planner.documents.listing import ModelEntry
    from planner.workload.presets import preset, preset_names
    from planner.workload.transformer import build_workload

    found = [(name, build_workload(preset(name))) for name in preset_names()]
    entries = [
        ModelEntry(
            name=name,
            title=one.title,
            parameters=one.parameters,
            active_parameters=one.active_parameters,
            layers=one.layer_count,
            sample=one.sample,
            seq_length=one.seq_length if one.has_tokens else None,
        )
        for name, one in found
    ]
    tell_list("models", entries, form, files)


@models_app.command("families")
def list_families(form: Form = Output.TABLE, files: Files = None) -> None:
    """List the Hugging Face model types whose config.json is read.

    \b
    Examples:
      planner models families
    """
    from planner.cli.io.lists import tell_list
    from planner.documents.listing import FamilyEntry
    from planner.workload.huggingface.families import FAMILIES

    tell_list("families", [FamilyEntry(name=name) for name in FAMILIES], form, files)
