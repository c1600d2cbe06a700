"""`make calibrate`: fit the calibration files of hardware_db to a table of measured runs."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from planner.evidence.bind_run import bind
from planner.evidence.fit import Case, Fitted, fit, reference_powers
from planner.evidence.predict import chosen_plan
from planner.evidence.runs import RowError, Run, parse_runs
from planner.hardware import database


def cases(runs: Iterable[Run]) -> list[Case]:
    """Readable runs; what a row left open is filled with the current parameters' best plan."""
    found = []
    for run in runs:
        try:
            question = bind(run)
            plan, _ = chosen_plan(question)
        except RowError:
            continue
        found.append(Case(run, question, plan))
    return found


_FITTED = "# Fitted by `make calibrate`"


def render(owner: str, what: str, fitted: Fitted, behind: list[Case]) -> str:
    """The text of one calibration file."""
    factors = (fitted.architectures if what == "architecture" else fitted.frameworks)[owner]
    ids: dict[str, list[str]] = defaultdict(list)
    for case in behind:
        ids[case.run.source].append(case.run.id)
    lines = [
        f"{_FITTED} to {len(behind)} measured runs: factors over calibration/default.toml.",
        f'title = "{what} {owner}"',
    ]
    if what == "architecture":
        lines.append(f"reference_power_w = {fitted.powers[owner]:.0f}")
    lines += ["", "[parameters]"]
    for name, value in factors.items():
        spread = fitted.spread[owner, name]
        lines.append(
            f'{name} = {{ value = {value:.4g}, source = "runs", confidence = "fitted", spread = {spread:.2g} }}'
        )
    lines += ["", "[sources]", f'runs = {{ title = "{"; ".join(sorted(ids))}" }}', ""]
    lines += ["[fitted_on] # ids of the runs by source"]
    for source, members in sorted(ids.items()):
        lines += [f'"{source}" = [', *(f'    "{one}",' for one in sorted(members)), "]"]
    return "\n".join([*lines, ""])


def write(fitted: Fitted, found: list[Case]) -> None:
    """Replace the calibration files by those of a fit."""
    owners: dict[str, tuple[Iterable[str], Callable[[Case], str]]] = {
        "architecture": (fitted.architectures, lambda case: case.architecture),
        "framework": (fitted.frameworks, lambda case: case.framework),
    }
    for what, (names, of) in owners.items():
        folder = database.database_path() / "calibration" / f"{what}s"
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.toml"):
            if old.read_text("utf-8").startswith(_FITTED):
                old.unlink()  # what was read off something else than these runs stays
        for owner in names:
            behind = [case for case in found if of(case) == owner]
            (folder / f"{owner}.toml").write_text(render(owner, what, fitted, behind), encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Fit the table and write the files; the same table twice gives the same files."""
    path = Path(arguments[0])
    runs, _ = parse_runs(path.read_text("utf-8"), str(path))
    found = cases(runs)
    fitted = fit(found, reference_powers(found))
    write(fitted, found)
    pairs: dict[tuple[str, str], list[float]] = defaultdict(list)
    for case in found:
        numbers = fitted.calibration(case.architecture, case.framework)
        pairs[case.architecture, case.framework].append(abs(np.expm1(case.log_error(numbers))))
    for (architecture, framework), errors in sorted(pairs.items()):
        print(f"{architecture:16} {framework:18} {len(errors):4} runs, mean error {100 * np.mean(errors):5.1f} %")
    every = [error for errors in pairs.values() for error in errors]
    print(f"{'all':35} {len(every):4} runs, mean error {100 * np.mean(every):5.1f} %")


if __name__ == "__main__":
    main(sys.argv[1:])
