"""`planner hardware`: the accelerators that are known by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options.grouped import grouped
from planner.cli.options.question import Files, Form, Output
from planner.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from planner.documents.hardware import HardwareDocument
    from planner.hardware.catalogue import Entry, Wanted

hardware_app = typer.Typer(
    help="The accelerators that are known by name.", no_args_is_help=True, rich_markup_mode=None
)


@dataclass(frozen=True)
class Which:
    """Which parts are listed: the options as the user gave them, empty where a user did not."""

    kind: Annotated[str, typer.Option("--kind", help="gpu, tpu, npu, cpu or fpga.")] = ""
    place: Annotated[str, typer.Option("--place", help="data-centre, edge or mobile.")] = ""
    vendor: Annotated[str, typer.Option("--vendor", help="Who makes it.")] = ""
    can_train: Annotated[bool, typer.Option("--can-train", help="Parts that can train.")] = False
    inference_only: Annotated[bool, typer.Option("--inference-only", help="Parts that cannot.")] = False
    framework: Annotated[str, typer.Option("--framework", help="pytorch, jax, ...: parts that it runs on.")] = ""
    cloud: Annotated[str, typer.Option("--cloud", help="aws, gcp, ...: parts that it rents out.")] = ""
    precision: Annotated[str, typer.Option("--precision", help="bf16, fp8, int8, ...: parts with a peak at it.")] = ""
    min_memory: Annotated[
        str, typer.Option("--min-memory", help="As 80GiB; what error correction keeps is forgiven (1/16).")
    ] = ""
    year: Annotated[str, typer.Option("--year", help="2022, 2022.., ..2019 or 2020..2023.")] = ""


@hardware_app.command("list")
@grouped
def list_hardware(
    *,
    which: Which,
    sort: Annotated[
        str, typer.Option("--sort", help="peak, memory, bandwidth, power, price, year or name.")
    ] = "name",
    form: Form = Output.TABLE,
    files: Files = None,
) -> None:
    """List accelerators with their figures.

    It tells dense peak, memory, link, rated power, lowest known rent, and whether they can train.

    \b
    Examples:
      planner hardware list --can-train --min-memory 80GiB --sort price
      planner hardware list --place edge
    """
    from planner.documents.hardware import hardware_document
    from planner.hardware import catalogue

    found = catalogue.entries()
    wanted = _wanted(which, found)
    kept = catalogue.ordered([one for one in found if wanted.holds(one)], sort, wanted.precision)

    def text() -> str:
        from planner.report.views.hardware_text import list_text

        return list_text(kept, wanted.precision)

    _tell(hardware_document(kept, wanted.precision), form, files, text)


def _wanted(which: Which, found: Sequence[Entry]) -> Wanted:
    """What a part has to be. Raises InputError for what no part is."""
    from planner.hardware import catalogue

    if which.can_train and which.inference_only:
        raise InputError("no part does both", key="--can-train, --inference-only", expected="one of the two")
    return catalogue.Wanted(
        kind=catalogue.known(found, which.kind, "--kind", lambda one: (one.spec.kind,)),
        place=catalogue.known(found, which.place, "--place", lambda one: (one.spec.place,)),
        vendor=catalogue.known(found, which.vendor, "--vendor", lambda one: (one.spec.vendor,)),
        can_train=which.can_train if which.can_train or which.inference_only else None,
        framework=catalogue.known(found, which.framework, "--framework", lambda one: one.spec.frameworks),
        cloud=catalogue.known(found, which.cloud, "--cloud", lambda one: one.spec.clouds),
        precision=catalogue.parse_precision(which.precision) if which.precision else None,
        min_memory_bytes=catalogue.parse_memory(which.min_memory) if which.min_memory else 0.0,
        years=catalogue.parse_years(which.year) if which.year else None,
    )


def _tell(document: HardwareDocument, form: Output, files: Sequence[Path] | None, text: Callable[[], str]) -> None:
    """Write the document to the files and print it."""
    from planner.cli.io.output import check_files, tell

    tell(document, form.value, check_files(files), text)


@hardware_app.command("show")
def show_hardware(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name in hardware_db.")],
    sources: Annotated[
        bool, typer.Option("--sources", help="Also the notes and the documents that the figures are from.")
    ] = False,
    form: Form = Output.TABLE,
    files: Files = None,
) -> None:
    """Show every figure of one accelerator, with its source.

    It tells of each whether it was read there.

    \b
    Examples:
      planner hardware show h100-sxm-80gb --sources
    """
    from planner.documents.hardware import hardware_document
    from planner.hardware.catalogue import entry

    found = entry(name)

    def text() -> str:
        from planner.report.views.hardware_text import show_text

        return show_text(found, sources=sources)

    _tell(hardware_document([found]), form, files, text)


@hardware_app.command("compare")
def compare_hardware(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Two names in hardware_db, or more.")],
    precision: Annotated[
        str, typer.Option("--precision", help="What ratios to watts, dollars and bytes are told at.")
    ] = "",
    form: Form = Output.TABLE,
    files: Files = None,
) -> None:
    """Compare accelerators side by side, in ratios to the first.

    \b
    Examples:
      planner hardware compare a100-sxm-80gb h100-sxm-80gb b200
    """
    from planner.documents.hardware import comparison_part, hardware_document
    from planner.hardware.catalogue import entry, parse_precision

    if len(names) < 2:
        raise InputError("nothing to compare with", key="NAME", value=names[0], expected="two names or more")
    found = [entry(name) for name in names]
    at = parse_precision(precision) if precision else None
    comparison = comparison_part(found, at)

    def text() -> str:
        from planner.report.views.hardware_text import compare_text

        return compare_text(found, comparison)

    _tell(hardware_document(found, at, comparison), form, files, text)
