"""`make calibrate`: fit every calibration file of hardware_db to a table of measured runs.

Each pair of accelerator architecture and framework has one file. A pair with few runs is pulled towards its nearest
relative, which is fitted first.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec
import numpy as np

from planner.cluster import database
from planner.cost.calibration import Calibration, read_calibration
from planner.validation.binding import bind
from planner.validation.fit import Case, Fitted, fit
from planner.validation.predict import chosen_plan
from planner.validation.runs import RowError, Run, parse_runs

_RELATIVES = {
    "blackwell-ultra.megatron-classic": "blackwell.megatron-classic",
    "blackwell-ultra.megatron": "blackwell.megatron",
    "blackwell-ultra.megatron-fsdp": "blackwell.megatron-fsdp",
}
"""The group that another one's fit starts from; else the architecture's `megatron-classic`, else the default."""
_ORDER = ("megatron-classic", "fsdp", "megatron", "megatron-fsdp", "fsdp2", "deepspeed")


def cases(runs: list[Run]) -> list[Case]:
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


def relative(name: str) -> str | None:
    """The group whose numbers are the prior of this one."""
    architecture, _, framework = name.partition(".")
    if name in _RELATIVES:
        return _RELATIVES[name]
    return f"{architecture}.megatron-classic" if framework in ("megatron", "megatron-fsdp", "fsdp2") else None


def fit_groups(groups: Mapping[str, list[Case]], known: Mapping[str, Fitted] | None = None) -> dict[str, Fitted]:
    """Fit every group that is not `known`, relatives first. A group without runs is left out."""
    done = dict(known or {})
    for name in sorted(groups, key=_turn):
        if name in done or not groups[name]:
            continue
        done[name] = fit(groups[name], prior(name, done, groups[name]))
    return done


def prior(name: str, done: Mapping[str, Fitted], group: list[Case]) -> Calibration:
    """Where a group's fit starts and is pulled to."""
    parent = relative(name)
    while parent is not None and parent not in done:
        parent = relative(parent)
    start = read_calibration("default") if parent is None else done[parent].calibration
    powers = [case.question.training.accelerator.tdp_w or 0.0 for case in group]
    return msgspec.structs.replace(start, reference_power_w=max(powers))


def _turn(name: str) -> tuple[int, int, str]:
    architecture, _, framework = name.partition(".")
    return (_ORDER.index(framework), architecture.count("-"), name)


def by_group(found: list[Case]) -> dict[str, list[Case]]:
    """Cases by the calibration file that they belong to."""
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in found:
        groups[case.group].append(case)
    return dict(groups)


def fit_architectures(found: list[Case]) -> dict[str, Fitted]:
    """Every group's fit; unrelated families of architectures in processes of their own."""
    families: dict[str, dict[str, list[Case]]] = defaultdict(dict)
    for name, group in by_group(found).items():
        families[name.split(".")[0].removesuffix("-ultra")][name] = group
    with ProcessPoolExecutor() as pool:
        return {name: one for done in pool.map(fit_groups, families.values()) for name, one in done.items()}


def render(name: str, fitted: Fitted, group: list[Case]) -> str:
    """The text of one calibration file."""
    sources: dict[str, list[str]] = defaultdict(list)
    for case in group:
        sources[case.run.source].append(case.run.id)
    lines = [
        f"# Fitted by `make calibrate` to {len(group)} measured runs of tests/published/measured_runs.csv.",
        f'title = "{name.replace(".", " with ")}"',
        "",
        "[parameters]",
    ]
    for key, value in msgspec.structs.asdict(fitted.calibration).items():
        note = f', note = "± {100 * fitted.spread[key]:.0f} %"' if key in fitted.spread else ""
        lines.append(f'{key} = {{ value = {value:.4g}, source = "runs", confidence = "fitted"{note} }}')
    lines += ["", "[sources]", f'runs = {{ title = "{"; ".join(sorted(sources))}" }}', ""]
    lines += ["[fitted_on] # ids of the runs by source"]
    for source, ids in sorted(sources.items()):
        lines.append(f'"{source}" = [')
        lines += [f'    "{one}",' for one in sorted(ids)]
        lines.append("]")
    return "\n".join([*lines, ""])


def main(arguments: list[str]) -> None:
    """Fit every group of the table and write its file; the same table twice gives the same files."""
    path = Path(arguments[0])
    runs, _ = parse_runs(path.read_text("utf-8"), str(path))
    found = cases(runs)
    groups = by_group(found)
    for name, fitted in sorted(fit_architectures(found).items()):
        errors = np.abs(np.expm1([case.log_error(fitted.calibration) for case in groups[name]]))
        file = database.database_path() / "calibration" / f"{name}.toml"
        file.write_text(render(name, fitted, groups[name]), encoding="utf-8")
        print(f"{name:34} {len(errors):4} runs, mean absolute error {100 * errors.mean():5.1f} %")


if __name__ == "__main__":
    main(sys.argv[1:])
