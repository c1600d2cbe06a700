"""`planner models` and `planner cluster`: the presets of models and clusters, and clusters of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from planner.cli.commands.cluster_import import import_cluster
from planner.cli.io.files import write_file_atomically
from planner.cli.io.output import DocumentOutput, write_stdout
from planner.cli.lazy import import_lazily
from planner.cli.options.command import CommandGroup, declare_command
from planner.cli.options.output import DOCUMENT_OPTIONS
from planner.cost.settings import FlopsConvention
from planner.errors import InputError
from planner.request.options import MODEL_COMPLETION, Completion, Option, find_option

with import_lazily():
    from planner.cluster.build import resolve
    from planner.cluster.model import presets as cluster_presets
    from planner.documents import listing
    from planner.documents import model as model_documents
    from planner.hardware import database
    from planner.request import inputs
    from planner.workload import model_file, transformer
    from planner.workload import presets as model_presets
    from planner.workload import spec as model_spec
    from planner.workload.huggingface import families


@declare_command(*DOCUMENT_OPTIONS)
def list_models(output: DocumentOutput) -> None:
    """List the presets with their sizes, and the tokens of a sequence or the unit of a batch.

    \b
    Examples:
      planner models list
    """
    entries = []
    specs = {name: model_presets.read_model_preset(name) for name in model_presets.list_preset_names()}
    specs |= {name: model_presets.read_hub_preset(name) for name in model_presets.list_hub_names()}
    for name, spec in specs.items():
        model = transformer.build_workload(spec)
        entries.append(
            listing.ModelEntry(
                name=name,
                title=model.title,
                parameters=model.parameters,
                active_parameters=model.active_parameters,
                layers=model.layer_count,
                sample=model.sample_name,
                seq_length=model.seq_length if model.has_tokens else None,
            )
        )
    _write_listing("models", entries, output)


@declare_command(*DOCUMENT_OPTIONS)
def list_families(output: DocumentOutput) -> None:
    """List the Hugging Face model types whose config.json is supported.

    \b
    Examples:
      planner models families
    """
    _write_listing("families", [listing.FamilyEntry(name=name) for name in families.FAMILY_NAMES], output)


@declare_command(
    Option(
        "model", "Arguments", "A preset, or a config.json or its folder.", metavar="MODEL", is_argument=True,
        is_required=True, completion=MODEL_COMPLETION,
    ),
    Option(
        "output", "Output", "The model file (TOML). Default: print it.", flags=("--output", "-o"), is_path=True,
        in_answer=False, completion=Completion(endings=(".toml",)),
    ),
)  # fmt: skip
def describe_model(model: str, output: Path | None) -> None:
    """Write a preset or a config.json as a model file, to be changed.

    \b
    Examples:
      planner models describe llama-3-8b > mine.toml
      planner models describe path/to/config.json -o mine.toml
    """
    spec, note = inputs.read_model_spec(model, None)
    if not isinstance(spec, model_spec.ModelSpec):
        raise InputError("is a list of operators, which is a file of its own", key="MODEL", value=model)
    text = model_file.format_model_file(spec, (note,) if note else ())
    if output is None:
        write_stdout(text, is_machine_readable=True)
    else:
        write_file_atomically(output, text)


@declare_command(
    Option(
        "model", "Arguments", "A preset, a config.json or its folder, a model TOML, or a size: 70B.",
        metavar="NAME|FILE", is_argument=True, is_required=True, completion=MODEL_COMPLETION,
    ),
    find_option("seq_length"),
    find_option("mtp_layers"),
    find_option("flops_convention"),
    *DOCUMENT_OPTIONS,
)  # fmt: skip
def show_model(
    model: str,
    seq_length: int | None,
    mtp_layers: int | None,
    flops_convention: FlopsConvention,
    output: DocumentOutput,
) -> None:
    """Show what a model consists of: layers by kind, parameters and FLOPs of a token by part.

    The totals are those of `plan`.

    \b
    Examples:
      planner models show deepseek-v3
      planner models show path/to/config.json --seq-length 32K --output model.html
    """
    spec, note = inputs.read_model_spec(model, seq_length, mtp_layers)
    workload = transformer.build_workload(spec, seq_length=seq_length, note=note)
    output.write(model_documents.build_model_document(spec, workload, flops_convention))


@declare_command(*DOCUMENT_OPTIONS)
def list_clusters(output: DocumentOutput) -> None:
    """List the presets with their hardware.

    \b
    Examples:
      planner cluster list
    """
    entries = []
    for name in database.list_database_names("clusters"):
        cluster = resolve.resolve_cluster(
            cluster_presets.load_cluster_spec(name), f"hardware_db/clusters/{name}.toml"
        )
        entries.append(
            listing.ClusterEntry(
                name=name,
                title=cluster.title,
                accelerator=cluster.accelerator.name,
                devices_per_node=cluster.devices_per_node,
                nodes=cluster.nodes,
            )
        )
    _write_listing("clusters", entries, output)


def _write_listing(
    listing_type: Literal["models", "families", "clusters"],
    entries: Sequence[listing.ModelEntry | listing.FamilyEntry | listing.ClusterEntry],
    output: DocumentOutput,
) -> None:
    document = listing.ListingDocument(
        schema_version=listing.SCHEMA_VERSION, listed=listing_type, entries=list(entries)
    )
    output.write(document)


models = CommandGroup(
    "Models: list the presets and the supported families, show one by its parts, describe one as a file.",
    {"list": list_models, "show": show_model, "families": list_families, "describe": describe_model},
)
cluster = CommandGroup(
    "Clusters: list the presets, import your own.", {"list": list_clusters, "import": import_cluster}
)
