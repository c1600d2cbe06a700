"""`make calibrate`: fit the calibration files of hardware_db to a table of measured runs."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from planner.cost.calibration import UNMEASURED_NAME
from planner.evidence.bind_run import bind_run
from planner.evidence.fit import COMMON, CalibrationCase, FittedFactors
from planner.evidence.linear_fit import fit_calibration, linearise_runs, read_shipped_factors
from planner.evidence.predict import find_run_plan
from planner.evidence.residual_widths import render_residuals_file
from planner.evidence.runs import MeasuredRun, RowError, parse_runs
from planner.hardware import database


def build_calibration_cases(runs: Iterable[MeasuredRun]) -> list[CalibrationCase]:
    """The runs of quality A and B that can be bound; open columns are filled with the current parameters."""
    calibration_cases = []
    for run in runs:
        if not run.is_for_fitting:
            continue
        try:
            bound_run = bind_run(run)
            plan, _ = find_run_plan(bound_run)
        except RowError:
            continue
        calibration_cases.append(CalibrationCase(run, bound_run, plan))
    return calibration_cases


_GENERATED_HEADER = "# Fitted by `make calibrate`"


def render_calibration_file(
    owner: str, owner_type: str, fitted: FittedFactors, owner_cases: list[CalibrationCase]
) -> str:
    """The text of one calibration file."""
    by_type = {
        "common": {COMMON: fitted.common},
        "architecture": fitted.architectures,
        "framework": fitted.frameworks,
    }
    factors = by_type[owner_type][owner]
    ids_by_source: dict[str, list[str]] = defaultdict(list)
    for case in owner_cases:
        ids_by_source[case.run.source].append(case.run.id)
    lines = [
        f"{_GENERATED_HEADER} to {len(owner_cases)} measured runs: factors over calibration/default.toml.",
        f'title = "{owner_type} {owner}"' if owner_type != "common" else 'title = "All measured runs"',
    ]
    if owner_type == "architecture":
        lines.append(f"reference_power_w = {fitted.references[owner].power_w:.0f}")
        lines.append(f"first_year = {fitted.references[owner].first_year}")
    lines += ["", "[parameters]"]
    for name, value in factors.items():
        spread = fitted.log_std[owner, name]
        lines.append(
            f'{name} = {{ value = {value:.4g}, source = "runs", confidence = "fitted", spread = {spread:.2g} }}'
        )
    lines += ["", "[sources]", f'runs = {{ title = "{"; ".join(sorted(ids_by_source))}" }}', ""]
    lines += ["[fitted_on] # ids of the runs by source"]
    for source, source_ids in sorted(ids_by_source.items()):
        lines += [f'"{source}" = [', *(f'    "{run_id}",' for run_id in sorted(source_ids)), "]"]
    return "\n".join([*lines, ""])


def render_unmeasured_file(fitted: FittedFactors) -> str:
    """The text of the file for architectures without runs."""
    lines = [
        f"{_GENERATED_HEADER}: of architectures without runs: the lower quartile of the measured ones.",
        'title = "An architecture without measured runs"',
        "",
        "[parameters]",
    ]
    for name, (value, spread) in fitted.compute_unmeasured_factors().items():
        lines.append(
            f'{name} = {{ value = {value:.4g}, source = "runs", confidence = "fitted", spread = {spread:.2g} }}'
        )
    title = f"{len(fitted.architectures)} architectures: {', '.join(sorted(fitted.architectures))}"
    return "\n".join([*lines, "", "[sources]", f'runs = {{ title = "{title}" }}', ""])


def write_calibration_files(fitted: FittedFactors, calibration_cases: list[CalibrationCase]) -> None:
    """Replace the generated calibration files with those of a new fit."""
    owners: dict[str, tuple[Iterable[str], Callable[[CalibrationCase], str]]] = {
        "common": ((COMMON,), lambda _: COMMON),
        "architecture": (fitted.architectures, lambda case: case.architecture),
        "framework": (fitted.frameworks, lambda case: case.framework),
    }
    for owner_type, (names, get_owner) in owners.items():
        folder = database.find_database_path() / "calibration"
        folder = folder if owner_type == "common" else folder / f"{owner_type}s"
        folder.mkdir(parents=True, exist_ok=True)
        for old_file in folder.glob("*.toml") if owner_type != "common" else ():
            if old_file.read_text("utf-8").startswith(_GENERATED_HEADER):
                old_file.unlink()  # files with other sources than these runs stay
        for owner in names:
            owner_cases = [case for case in calibration_cases if get_owner(case) == owner]
            (folder / f"{owner}.toml").write_text(
                render_calibration_file(owner, owner_type, fitted, owner_cases), encoding="utf-8"
            )
    path = database.find_database_path() / "calibration" / f"{UNMEASURED_NAME}.toml"
    path.write_text(render_unmeasured_file(fitted), encoding="utf-8")


def write_residuals_file(fitted: FittedFactors, calibration_cases: list[CalibrationCase]) -> None:
    """Replace the residual widths with those of the runs at these factors."""
    text = render_residuals_file(_GENERATED_HEADER, linearise_runs(calibration_cases, fitted))
    (database.find_database_path() / "calibration" / "residuals.toml").write_text(text, encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Fit the tables and write the files; the result is deterministic. With `--residuals` the fit stays, and only the
    residual widths are written.
    """
    only_residuals = "--residuals" in arguments
    paths = [Path(argument) for argument in arguments if argument != "--residuals"]
    runs = [run for path in paths for run in parse_runs(path.read_text("utf-8"), str(path))[0]]
    calibration_cases = build_calibration_cases(runs)
    if only_residuals:
        write_residuals_file(read_shipped_factors(calibration_cases), calibration_cases)
        return
    # from the shipped factors, which are near: the loss has other minima
    shipped = read_shipped_factors(calibration_cases)
    fitted = fit_calibration(
        calibration_cases, shipped, lambda number, loss: print(f"round {number}: loss {loss:.1f}")
    )
    write_calibration_files(fitted, calibration_cases)
    write_residuals_file(fitted, calibration_cases)
    pairs: dict[tuple[str, str], list[float]] = defaultdict(list)
    for case in calibration_cases:
        numbers = fitted.build_calibration(case.architecture, case.framework)
        pairs[case.architecture, case.framework].append(abs(np.expm1(case.compute_log_error(numbers))))
    for (architecture, framework), errors in sorted(pairs.items()):
        print(f"{architecture:16} {framework:18} {len(errors):4} runs, mean error {100 * np.mean(errors):5.1f} %")
    all_errors = [error for errors in pairs.values() for error in errors]
    print(f"{'all':35} {len(all_errors):4} runs, mean error {100 * np.mean(all_errors):5.1f} %")


if __name__ == "__main__":
    main(sys.argv[1:])
