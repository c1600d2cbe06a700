"""`planner hardware`: the accelerators of the hardware database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from planner.cli.io.output import DocumentOutput
from planner.cli.lazy import import_lazily
from planner.cli.options.command import CommandGroup, declare_command
from planner.cli.options.output import DOCUMENT_OPTIONS, declare_switch
from planner.errors import InputError
from planner.request.options import Completion, Option
from planner.request.values import parse_texts

with import_lazily():
    from planner.documents import hardware as hardware_documents
    from planner.hardware import catalogue
    from planner.report.formats import terminal
    from planner.report.views import hardware_report

SORT_WORDS = ("peak", "memory", "bandwidth", "power", "price", "year", "name")
_FILTERS = (
    Option("kind", "Filters", "Type: gpu, tpu, npu, cpu or fpga.", completion=Completion(source="accelerator kinds")),
    Option(
        "place", "Filters", "Place of use: data-centre, edge or mobile.",
        completion=Completion(source="accelerator places"),
    ),
    Option("vendor", "Filters", "Vendor: nvidia, amd, ...", completion=Completion(source="vendors")),
    declare_switch("can_train", "Filters", "Only accelerators that can train."),
    declare_switch("inference_only", "Filters", "Only accelerators that cannot train."),
    Option(
        "framework", "Filters", "Only accelerators that this software supports: pytorch, jax, ...",
        completion=Completion(source="software"),
    ),
    Option(
        "cloud", "Filters", "Only accelerators that this cloud rents out: aws, gcp, ...",
        completion=Completion(source="clouds"),
    ),
    Option(
        "precision", "Filters", "Only accelerators with a peak at this number format: bf16, fp8, int8, ...",
        completion=Completion(source="precisions"),
    ),
    Option(
        "min_memory", "Filters",
        "Least memory: 80GiB. Up to 1/16 less is accepted, since error correction takes a part.",
    ),
    Option("year", "Filters", "Year of release: 2022, 2022.., ..2019 or 2020..2023."),
)  # fmt: skip
_SORT = Option(
    "sort", "Output", "Order: peak, memory, bandwidth, power, price, year or name.", default="name",
    completion=Completion(SORT_WORDS),
)  # fmt: skip


@declare_command(*_FILTERS, _SORT, *DOCUMENT_OPTIONS)
def list_hardware(output: DocumentOutput, sort: str, **filters: str | bool | None) -> None:
    """List accelerators with their figures.

    Dense peak, memory, link, rated power, lowest known rent, and whether they can train.

    \b
    Examples:
      planner hardware list --can-train --min-memory 80GiB --sort price
      planner hardware list --place edge
    """
    entries = catalogue.read_accelerator_entries()
    accelerator_filter = _build_filter(entries, **filters)  # type: ignore[arg-type]
    matching_entries = [entry for entry in entries if accelerator_filter.matches_entry(entry)]
    listed_entries = catalogue.sort_accelerator_entries(matching_entries, sort, accelerator_filter.precision)
    output.write(hardware_documents.build_hardware_document(listed_entries, accelerator_filter.precision))


def _build_filter(
    entries: Sequence[catalogue.AcceleratorEntry],
    *,
    can_train: bool,
    inference_only: bool,
    kind: str | None,
    place: str | None,
    vendor: str | None,
    framework: str | None,
    cloud: str | None,
    precision: str | None,
    min_memory: str | None,
    year: str | None,
) -> catalogue.AcceleratorFilter:
    """The filter of the options; None: not given. Raises InputError for a value that no accelerator has."""
    if can_train and inference_only:
        raise InputError("conflicting options", key="--can-train, --inference-only", expected="one of the two")
    match = partial(catalogue.match_listed_value, entries)
    return catalogue.AcceleratorFilter(
        device_type=match(kind or "", "--kind", lambda entry: (entry.spec.kind,)),
        deployment=match(place or "", "--place", lambda entry: (entry.spec.place,)),
        vendor=match(vendor or "", "--vendor", lambda entry: (entry.spec.vendor,)),
        can_train=can_train if can_train or inference_only else None,
        framework=match(framework or "", "--framework", lambda entry: entry.spec.frameworks),
        cloud=match(cloud or "", "--cloud", lambda entry: entry.spec.clouds),
        precision=catalogue.parse_precision(precision) if precision else None,
        min_memory_bytes=catalogue.parse_memory_bytes(min_memory) if min_memory else 0.0,
        year_range=catalogue.parse_year_range(year) if year else None,
    )


@declare_command(
    Option(
        "name", "Arguments", "Name in hardware_db.", metavar="NAME", is_argument=True, is_required=True,
        completion=Completion(source="accelerators"),
    ),
    declare_switch("sources", "Output", "Also print the notes and the source documents of the figures."),
    *DOCUMENT_OPTIONS,
)  # fmt: skip
def show_hardware(name: str, sources: bool, output: DocumentOutput) -> None:
    """Show every figure of one accelerator, with its source.

    The output states whether each figure was read in its source.

    \b
    Examples:
      planner hardware show h100-sxm-80gb --sources
    """
    document = hardware_documents.build_hardware_document([catalogue.read_accelerator_entry(name)])

    def render_without_sources() -> str:
        report = hardware_report.build_hardware_report(document)
        return terminal.render_terminal(replace(report, tables=report.tables[:1]))

    output.write(document, {} if sources else {".table": render_without_sources, ".txt": render_without_sources})


@declare_command(
    Option(
        "names", "Arguments", "Two names in hardware_db, or more.", parse_texts, metavar="NAME...", is_argument=True,
        is_required=True, is_repeatable=True, completion=Completion(source="accelerators"),
    ),
    Option(
        "precision", "Output", "Number format of the peak in ratios to watts, dollars and bytes.",
        completion=Completion(source="precisions"),
    ),
    *DOCUMENT_OPTIONS,
)  # fmt: skip
def compare_hardware(names: Sequence[str], precision: str | None, output: DocumentOutput) -> None:
    """Compare accelerators side by side, in ratios to the first.

    \b
    Examples:
      planner hardware compare a100-sxm-80gb h100-sxm-80gb b200
    """
    if len(names) < 2:
        raise InputError("nothing to compare with", key="NAME", value=names[0], expected="two names or more")
    entries = [catalogue.read_accelerator_entry(name) for name in names]
    ratio_precision = catalogue.parse_precision(precision) if precision else None
    comparison = hardware_documents.build_hardware_comparison(entries, ratio_precision)
    output.write(hardware_documents.build_hardware_document(entries, ratio_precision, comparison))


hardware = CommandGroup(
    "Accelerators: list, show and compare those of the hardware database.",
    {"list": list_hardware, "show": show_hardware, "compare": compare_hardware},
)
