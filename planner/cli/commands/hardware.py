"""`planner hardware`: the accelerators of the hardware database."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options.grouped import expand_option_groups
from planner.cli.options.output import FilesOption, FormatOption, OutputFormat
from planner.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from planner.documents.hardware import HardwareDocument
    from planner.hardware.catalogue import AcceleratorEntry, AcceleratorFilter

hardware_app = typer.Typer(
    help="The accelerators of the hardware database.", no_args_is_help=True, rich_markup_mode=None
)


@dataclass(frozen=True)
class HardwareFilterOptions:
    """The filters of the list, as given; empty where not given."""

    kind: Annotated[str, typer.Option("--kind", help="Type: gpu, tpu, npu, cpu or fpga.")] = ""
    place: Annotated[str, typer.Option("--place", help="Place of use: data-centre, edge or mobile.")] = ""
    vendor: Annotated[str, typer.Option("--vendor", help="Vendor: nvidia, amd, ...")] = ""
    can_train: Annotated[bool, typer.Option("--can-train", help="Only accelerators that can train.")] = False
    inference_only: Annotated[bool, typer.Option("--inference-only", help="Only accelerators that cannot train.")] = (
        False
    )
    framework: Annotated[
        str, typer.Option("--framework", help="Only accelerators that this software supports: pytorch, jax, ...")
    ] = ""
    cloud: Annotated[
        str, typer.Option("--cloud", help="Only accelerators that this cloud rents out: aws, gcp, ...")
    ] = ""
    precision: Annotated[
        str,
        typer.Option("--precision", help="Only accelerators with a peak at this number format: bf16, fp8, int8, ..."),
    ] = ""
    min_memory: Annotated[
        str,
        typer.Option(
            "--min-memory",
            help="Least memory: 80GiB. Up to 1/16 less is accepted, since error correction takes a part.",
        ),
    ] = ""
    year: Annotated[str, typer.Option("--year", help="Year of release: 2022, 2022.., ..2019 or 2020..2023.")] = ""


@hardware_app.command("list")
@expand_option_groups
def list_hardware(
    *,
    filter_options: HardwareFilterOptions,
    sort: Annotated[
        str, typer.Option("--sort", help="Order: peak, memory, bandwidth, power, price, year or name.")
    ] = "name",
    form: FormatOption = OutputFormat.TABLE,
    files: FilesOption = None,
) -> None:
    """List accelerators with their figures.

    Dense peak, memory, link, rated power, lowest known rent, and whether they can train.

    \b
    Examples:
      planner hardware list --can-train --min-memory 80GiB --sort price
      planner hardware list --place edge
    """
    from planner.documents.hardware import build_hardware_document
    from planner.hardware import catalogue

    catalogue_entries = catalogue.read_accelerator_entries()
    hardware_filter = _build_hardware_filter(filter_options, catalogue_entries)
    listed_entries = catalogue.sort_accelerator_entries(
        [entry for entry in catalogue_entries if hardware_filter.matches_entry(entry)],
        sort,
        hardware_filter.precision,
    )

    _write_hardware_document(build_hardware_document(listed_entries, hardware_filter.precision), form, files)


def _build_hardware_filter(
    filter_options: HardwareFilterOptions, catalogue_entries: Sequence[AcceleratorEntry]
) -> AcceleratorFilter:
    """The filter of the options. Raises InputError for a value that no accelerator has."""
    from planner.hardware import catalogue

    if filter_options.can_train and filter_options.inference_only:
        raise InputError("conflicting options", key="--can-train, --inference-only", expected="one of the two")
    return catalogue.AcceleratorFilter(
        device_type=catalogue.match_listed_value(
            catalogue_entries, filter_options.kind, "--kind", lambda entry: (entry.spec.kind,)
        ),
        deployment=catalogue.match_listed_value(
            catalogue_entries, filter_options.place, "--place", lambda entry: (entry.spec.place,)
        ),
        vendor=catalogue.match_listed_value(
            catalogue_entries, filter_options.vendor, "--vendor", lambda entry: (entry.spec.vendor,)
        ),
        can_train=filter_options.can_train if filter_options.can_train or filter_options.inference_only else None,
        framework=catalogue.match_listed_value(
            catalogue_entries, filter_options.framework, "--framework", lambda entry: entry.spec.frameworks
        ),
        cloud=catalogue.match_listed_value(
            catalogue_entries, filter_options.cloud, "--cloud", lambda entry: entry.spec.clouds
        ),
        precision=catalogue.parse_precision(filter_options.precision) if filter_options.precision else None,
        min_memory_bytes=catalogue.parse_memory_bytes(filter_options.min_memory)
        if filter_options.min_memory
        else 0.0,
        year_range=catalogue.parse_year_range(filter_options.year) if filter_options.year else None,
    )


def _write_hardware_document(
    document: HardwareDocument,
    output_format: OutputFormat,
    files: Sequence[Path] | None,
    text_renderer: Callable[[], str] | None = None,
) -> None:
    """Write the document to the files and print it; `text_renderer`: what makes its text, if it is not all of it."""
    from planner.cli.io.output import check_output_files, write_document

    own_renderers = {".table": text_renderer, ".txt": text_renderer} if text_renderer is not None else None
    write_document(document, output_format.value, check_output_files(files), own_renderers)


@hardware_app.command("show")
def show_hardware(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name in hardware_db.")],
    sources: Annotated[
        bool, typer.Option("--sources", help="Also print the notes and the source documents of the figures.")
    ] = False,
    form: FormatOption = OutputFormat.TABLE,
    files: FilesOption = None,
) -> None:
    """Show every figure of one accelerator, with its source.

    The output states whether each figure was read in its source.

    \b
    Examples:
      planner hardware show h100-sxm-80gb --sources
    """
    from planner.documents.hardware import build_hardware_document
    from planner.hardware.catalogue import read_accelerator_entry

    document = build_hardware_document([read_accelerator_entry(name)])

    def render_without_sources() -> str:
        from planner.report.formats.terminal import render_terminal
        from planner.report.views.hardware_report import build_hardware_report

        report = build_hardware_report(document)
        return render_terminal(replace(report, tables=report.tables[:1]))

    _write_hardware_document(document, form, files, None if sources else render_without_sources)


@hardware_app.command("compare")
def compare_hardware(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Two names in hardware_db, or more.")],
    precision: Annotated[
        str, typer.Option("--precision", help="Number format of the peak in ratios to watts, dollars and bytes.")
    ] = "",
    form: FormatOption = OutputFormat.TABLE,
    files: FilesOption = None,
) -> None:
    """Compare accelerators side by side, in ratios to the first.

    \b
    Examples:
      planner hardware compare a100-sxm-80gb h100-sxm-80gb b200
    """
    from planner.documents.hardware import build_hardware_comparison, build_hardware_document
    from planner.hardware.catalogue import parse_precision, read_accelerator_entry

    if len(names) < 2:
        raise InputError("nothing to compare with", key="NAME", value=names[0], expected="two names or more")
    catalogue_entries = [read_accelerator_entry(name) for name in names]
    ratio_precision = parse_precision(precision) if precision else None
    comparison = build_hardware_comparison(catalogue_entries, ratio_precision)

    _write_hardware_document(build_hardware_document(catalogue_entries, ratio_precision, comparison), form, files)
