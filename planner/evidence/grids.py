"""Grids: runs of one job that differ in their split alone, by which the choice of a split is judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from planner.documents.schema import DocumentPart
from planner.evidence.columns import DEGREE_COLUMNS
from planner.evidence.predict import RunPrediction
from planner.evidence.statistics import compute_kendall_tau

MIN_SPLITS = 3
"""Splits of a job from which on it is a grid."""
_SPLIT_COLUMNS = frozenset({*DEGREE_COLUMNS, "seq_parallel"})
_RESULT_COLUMNS = frozenset({"id", "locator", "value", "peak_memory_gib", "notes", "memory_kind", "memory_rank"})


class GridPart(DocumentPart, frozen=True, kw_only=True):
    """The splits of one job that were measured: all columns of their rows are equal but the degrees."""

    model: str
    accelerator: str
    devices: int
    global_batch: int
    splits: int
    fastest: str
    """The run with the shortest measured step."""
    chosen: str
    """The run with the shortest predicted step."""
    regret_pct: float
    """By how much the measured step of `chosen` is longer than that of `fastest`, in percent."""
    kendall_tau: float | None
    """Kendall's rank correlation (tau-b) of measured and predicted steps; null where all of one are equal."""


class GridsPart(DocumentPart, frozen=True, kw_only=True):
    """The choice of a split over all grids, which count the same."""

    mean_regret_pct: float
    worst_regret_pct: float
    mean_kendall_tau: float | None
    grids: list[GridPart]
    """The largest regret first."""


def build_grids_part(predictions: Sequence[RunPrediction]) -> GridsPart | None:
    """The grids among the runs; None where no job was measured in `MIN_SPLITS` splits."""
    grids = sorted(_enumerate_grids(predictions), key=lambda grid: -grid.regret_pct)
    if not grids:
        return None
    regrets_pct = [grid.regret_pct for grid in grids]
    taus = [grid.kendall_tau for grid in grids if grid.kendall_tau is not None]
    return GridsPart(
        mean_regret_pct=float(np.mean(regrets_pct)),
        worst_regret_pct=regrets_pct[0],
        mean_kendall_tau=float(np.mean(taus)) if taus else None,
        grids=grids,
    )


def _enumerate_grids(predictions: Sequence[RunPrediction]) -> Iterator[GridPart]:
    """In the order of their first runs."""
    jobs: dict[tuple[tuple[str, object], ...], list[RunPrediction]] = {}
    for prediction in predictions:
        cells = prediction.run.cells
        job = tuple((name, cells[name]) for name in sorted(cells.keys() - _SPLIT_COLUMNS - _RESULT_COLUMNS))
        jobs.setdefault(job, []).append(prediction)
    for items in jobs.values():
        splits = {tuple(item.run.cells.get(name) for name in DEGREE_COLUMNS) for item in items}
        if len(splits) >= MIN_SPLITS:
            yield _build_grid_part(items)


def _build_grid_part(items: Sequence[RunPrediction]) -> GridPart:
    measured_s, predicted_s = np.array([item.step_times_s for item in items]).T
    fastest, chosen = int(measured_s.argmin()), int(predicted_s.argmin())
    first = items[0]
    return GridPart(
        model=first.run.model,
        accelerator=first.run.accelerator,
        devices=first.scenario.devices,
        global_batch=first.scenario.global_batch,
        splits=len(items),
        fastest=items[fastest].run.id,
        chosen=items[chosen].run.id,
        regret_pct=float(100 * (measured_s[chosen] / measured_s[fastest] - 1)),
        kendall_tau=compute_kendall_tau(measured_s, predicted_s),
    )
