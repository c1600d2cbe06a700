"""Fit the calibration files to measured runs: `python -m planner.validation.fit RUNS.csv`.

One set of parameters for each pair of accelerator architecture and framework; least squares of the logarithm of
predicted over measured step time, with a weak pull towards the default file's values (a Gaussian prior in the
logarithm), so that what the runs do not tell stays at the default. Robust: a soft L1 loss beyond 10 %.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner.cluster import database
from planner.cluster.network import build_network
from planner.cost.calibration import Calibration, read_calibration
from planner.cost.strategies import Strategies
from planner.cost.training import Training
from planner.validation.binding import Question, bind
from planner.validation.predict import chosen_plan, figure
from planner.validation.runs import RowError, Run, parse_runs

Floats = NDArray[np.float64]

# Width of the prior in the logarithm: how far a parameter may lie from its default without being pulled back.
PRIORS = {
    "gemm_efficiency": 0.3,
    "gemm_efficiency_8bit": 0.4,
    "gemm_efficiency_4bit": 0.4,
    "expert_efficiency": 0.4,
    "gemm_half_rows": 0.8,
    "gemm_half_depth": 0.8,
    "attention_forward_efficiency": 0.4,
    "attention_backward_efficiency": 0.4,
    "memory_efficiency": 0.2,
    "eager_traffic": 0.5,
    "routing_traffic": 0.5,
    "kernel_launch_s": 0.7,
    "host_launch_s": 1.0,
    "link_efficiency": 0.25,
    "nic_efficiency": 0.25,
    "overlap": 0.6,
    "contention": 0.7,
    "step_overhead_s": 1.0,
    "power_exponent": 0.5,
}
_SHARES = ("efficiency", "overlap")
"""Parameters of these names are shares: at most 0.97 of what is rated."""
_WEIGHT = 0.05
"""Standard deviation of the logarithm that a run is taken to have."""


@dataclass(frozen=True)
class Case:
    """One run with the plan that it is scored with."""

    run: Run
    question: Question
    plan: Strategies

    def log_error(self, fitted: Calibration) -> float:
        """Logarithm of predicted over measured step time."""
        ratio = figure(self.run, with_calibration(self.question, fitted), self.plan) / self.run.value
        return float(np.log(ratio if self.run.metric == "step_time_s" else 1 / ratio))


def with_calibration(question: Question, fitted: Calibration) -> Training:
    """The question's training under other fitted numbers."""
    network = build_network(
        question.cluster, link_efficiency=fitted.link_efficiency, nic_efficiency=fitted.nic_efficiency
    )
    return replace(question.training, calibration=fitted, network=network)


def cases(runs: list[Run]) -> dict[str, list[Case]]:
    """Readable runs by calibration file; what a row left open is filled with the current parameters' best plan."""
    groups: dict[str, list[Case]] = defaultdict(list)
    for run in runs:
        try:
            question = bind(run)
            plan, _ = chosen_plan(question)
        except RowError:
            continue
        training = question.training
        groups[f"{training.accelerator.architecture}.{training.framework.name}"].append(Case(run, question, plan))
    return dict(groups)


def fit(group: list[Case], start: Calibration) -> tuple[Calibration, dict[str, float]]:
    """The numbers fitted from a prior at `start`, and each one's relative standard deviation."""
    from scipy.optimize import least_squares  # type: ignore[import-untyped]

    names = list(PRIORS)
    centre = np.log([getattr(start, name) for name in names])
    width = np.array([PRIORS[name] for name in names])

    def calibrated(x: Floats) -> Calibration:
        return msgspec.structs.replace(start, **dict(zip(names, np.exp(x).tolist(), strict=True)))

    def residuals(x: Floats) -> Floats:
        fitted = calibrated(x)
        errors = np.array([case.log_error(fitted) for case in group]) / _WEIGHT
        robust = np.sign(errors) * np.sqrt(2 * 4 * (np.sqrt(1 + errors**2 / 4) - 1))
        return np.concatenate([robust, (x - centre) / width])

    upper = np.array([np.log(0.97) if any(word in name for word in _SHARES) else np.inf for name in names])
    first = np.minimum(np.log([getattr(start, name) for name in names]), upper - 1e-3)
    found = least_squares(residuals, first, bounds=(-np.inf, upper), max_nfev=25, diff_step=1e-3)
    spread = np.sqrt(np.diag(np.linalg.inv(found.jac.T @ found.jac)))
    return calibrated(found.x), dict(zip(names, spread.tolist(), strict=True))


def write(name: str, fitted: Calibration, spread: dict[str, float], group: list[Case]) -> None:
    """The calibration file of one group."""
    sources = sorted({case.run.source for case in group})
    lines = [
        f"# Fitted by `make calibrate` to {len(group)} measured runs of tests/published/measured_runs.csv.",
        f'title = "{name.replace(".", " with ")}"',
        "",
        "[parameters]",
    ]
    for key, value in msgspec.structs.asdict(fitted).items():
        note = f', note = "± {100 * spread[key]:.0f} %"' if key in spread else ""
        lines.append(f'{key} = {{ value = {value:.4g}, source = "runs", confidence = "fitted"{note} }}')
    lines += ["", "[sources]", f'runs = {{ title = "{"; ".join(sources)}" }}', ""]
    (database.database_path() / "calibration" / f"{name}.toml").write_text("\n".join(lines))


def prior(name: str, fitted: dict[str, Calibration]) -> Calibration:
    """Where a group's fit starts and is pulled to: its older relative's fit where there is one, else the default."""
    architecture, _, framework = name.partition(".")
    relatives = {"megatron": "megatron-classic", "megatron-fsdp": "megatron-classic"}
    relative = f"{architecture}.{relatives.get(framework, '')}"
    return fitted.get(relative) or read_calibration("default")


def order(name: str) -> tuple[bool, str]:
    """Groups that others start from come first."""
    return (name.endswith(("megatron", "megatron-fsdp")), name)


def fit_all(groups: dict[str, list[Case]]) -> dict[str, tuple[Calibration, dict[str, float]]]:
    """The fit of every group."""
    done: dict[str, tuple[Calibration, dict[str, float]]] = {}
    for name in sorted(groups, key=order):
        powers = [case.question.training.accelerator.tdp_w or 0.0 for case in groups[name]]
        start = prior(name, {key: value for key, (value, _) in done.items()})
        done[name] = fit(groups[name], msgspec.structs.replace(start, reference_power_w=max(powers)))
    return done


def main(arguments: list[str]) -> None:
    """Fit every group of the table and write its file."""
    path = Path(arguments[0])
    runs, _ = parse_runs(path.read_text("utf-8"), str(path))
    groups = cases(runs)
    wanted = arguments[1:]  # names of groups, to fit only those
    groups = {name: group for name, group in groups.items() if not wanted or name in wanted}
    for name, (fitted, spread) in fit_all(groups).items():
        errors = np.abs(np.expm1([case.log_error(fitted) for case in groups[name]]))
        write(name, fitted, spread, groups[name])
        print(f"{name:32} {len(errors):4} runs, mean absolute error {100 * errors.mean():5.1f} %")


if __name__ == "__main__":
    main(sys.argv[1:])
