"""`planner models`: the model presets."""

from __future__ import annotations

import typer

from planner.cli.options.output import FilesOption, FormatOption, OutputFormat

models_app = typer.Typer(help="The model presets.", no_args_is_help=True, rich_markup_mode=None)


@models_app.command("list")
def list_models(form: FormatOption = OutputFormat.TABLE, files: FilesOption = None) -> None:
    """List the presets with their sizes, and the tokens of a sequence or the unit of a batch.

    \b
    Examples:
      planner models list
    """
    from planner.cli.io.lists import write_listing
    from planner.documents.listing import ModelEntry
    from planner.workload.presets import list_preset_names, read_model_preset
    from planner.workload.transformer import build_workload

    named_models = [(name, build_workload(read_model_preset(name))) for name in list_preset_names()]
    entries = [
        ModelEntry(
            name=name,
            title=model.title,
            parameters=model.parameters,
            active_parameters=model.active_parameters,
            layers=model.layer_count,
            sample=model.sample_name,
            seq_length=model.seq_length if model.has_tokens else None,
        )
        for name, model in named_models
    ]
    write_listing("models", entries, form.value, files)


@models_app.command("families")
def list_families(form: FormatOption = OutputFormat.TABLE, files: FilesOption = None) -> None:
    """List the Hugging Face model types whose config.json is supported.

    \b
    Examples:
      planner models families
    """
    from planner.cli.io.lists import write_listing
    from planner.documents.listing import FamilyEntry
    from planner.workload.huggingface.families import FAMILY_READERS

    write_listing("families", [FamilyEntry(name=name) for name in FAMILY_READERS], form.value, files)
