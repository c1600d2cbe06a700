"""The points of a sweep: checked before anything runs, then each answered as by `plan`, its best plan as a record."""

from __future__ import annotations

import functools
from dataclasses import replace

import msgspec

from planner.cli.lazy import import_lazily
from planner.cli.sweeps.grid import Sweep, SweepPoint
from planner.errors import InputError, NothingFits, PlannerError
from planner.request.files import is_existing_path
from planner.request.notices import collect_warnings
from planner.request.options import FILE_KEYS, extract_option_key
from planner.request.values import format_option_value

with import_lazily():
    from planner.cluster.model import cluster as clusters
    from planner.documents import figures, heterogeneous, plan
    from planner.report import report
    from planner.report.views import heterogeneous_report
    from planner.request import answer, inputs, plan_request, resolve
    from planner.workload import operators

STATUS_PLANNED, INFEASIBLE, BAD_INPUT, STATUS_FAILED = "planned", "nothing fits", "bad input", "failed"
"""The status of a point; the last means a bug or a failure of the machine."""
STATUSES = (STATUS_PLANNED, INFEASIBLE, BAD_INPUT, STATUS_FAILED)
STATUS_COLUMN, REASON_COLUMN = "status", "reason"
_CACHED_INPUTS = 16
"""Models and clusters in the cache, which neighbouring points share."""


class PointAnswerer:
    """Answers the points of a sweep; models and clusters that points share are read once."""

    def __init__(self) -> None:
        self._read_model = functools.lru_cache(_CACHED_INPUTS)(inputs.read_model)
        self._read_cluster = functools.lru_cache(_CACHED_INPUTS)(inputs.read_cluster)

    def encode_answer(self, point: SweepPoint) -> bytes:
        """The record as JSON, in the same bytes from every kind of worker."""
        return msgspec.json.encode(self.build_record(point))

    def build_record(self, point: SweepPoint) -> dict[str, report.RecordValue]:
        """The status of a point, and its best plan. Errors are reported in the record, not raised."""
        try:
            # warnings are printed once, when the sweep is checked
            with collect_warnings():
                return {
                    STATUS_COLUMN: STATUS_PLANNED,
                    REASON_COLUMN: "",
                    **self._answer_request(point, "", search=True),
                }
        except NothingFits as error:
            return _build_error_record(INFEASIBLE, error)
        except InputError as error:
            return _build_error_record(BAD_INPUT, error)
        except Exception as error:
            return build_failed_record(f"{type(error).__name__}: {error}")

    def check_point(self, point: SweepPoint, origin: str) -> None:
        """Parse a point without answering it. Raises InputError."""
        self._answer_request(point, origin, search=False)

    def _answer_request(self, point: SweepPoint, origin: str, *, search: bool) -> dict[str, report.RecordValue]:
        """The record of the point's best plan; empty without a search."""
        request = replace(plan_request.build_plan_request(point, origin=origin), top=1)
        pools = answer.read_request_pools(request, ignored=("top",))
        if pools is not None:
            return _build_pools_record(answer.compute_pools_document(request, pools)) if search else {}
        resolved = resolve.resolve_request(request, self._read_inputs)
        # without the sentence on bottlenecks, which takes a third of the time: the table has the terms of the step
        return _build_plan_record(answer.compute_document(request, resolved, explained=False)) if search else {}

    def _read_inputs(self, request: plan_request.PlanRequest) -> tuple[operators.Workload, clusters.Cluster]:
        return (
            self._read_model(request.model, request.seq_length, request.mtp_layers),
            self._read_cluster(request.cluster, request.nodes, request.devices, request.fault),
        )


def build_failed_record(reason: str) -> dict[str, report.RecordValue]:
    """The record of a point whose answer raised an unexpected error or ended its process."""
    return {STATUS_COLUMN: STATUS_FAILED, REASON_COLUMN: " ".join(reason.split())}


def _build_error_record(status: str, error: PlannerError) -> dict[str, report.RecordValue]:
    """The record of a point without a plan, with the message on one line."""
    return {
        STATUS_COLUMN: status,
        REASON_COLUMN: "; ".join(" ".join(line.split()) for line in str(error).splitlines()),
    }


def _build_pools_record(document: heterogeneous.HeterogeneousDocument) -> dict[str, report.RecordValue]:
    """The best plan on a heterogeneous cluster, and its run."""
    model, cluster, run = document.model, document.cluster, document.run
    return {
        "parameters": model.parameters,
        "seq_length": model.seq_length,
        "devices": cluster.devices,
        "precision": document.scenario.precision,
        "global_batch": document.scenario.global_batch,
        **heterogeneous_report.build_hetero_record(document.best_plan),
        "days": run.days if run else None,
    }


def _build_plan_record(document: plan.PlanDocument) -> dict[str, report.RecordValue]:
    """The first plan with the sizes of model and cluster, and the figures of its whole run."""
    model, cluster, run = document.model, document.cluster, document.run
    failures, carbon = document.reliability, document.carbon
    plan_figures = figures.flatten_part(document.best_plan)
    plan_figures.pop("bottleneck", None)
    return {
        "parameters": model.parameters,
        "seq_length": model.seq_length,
        "accelerator": cluster.accelerator,
        "nodes": cluster.nodes,
        "devices": cluster.devices,
        "precision": document.scenario.precision,
        **plan_figures,
        "mean_w": document.power.mean_w if document.power else None,
        "goodput_share": failures.goodput_share if failures else None,
        "days": run.days if run else None,
        "days_with_failures": run.days_with_failures if run else None,
        "kg_co2e_per_step": carbon.kg_per_step if carbon else None,
        "kg_co2e_of_run": carbon.kg_of_run if carbon else None,
    }


def check_sweep(sweep: Sweep) -> None:
    """Parse points until each value has been part of a valid point.

    A value is an error where it is invalid together with every value of the other keys; an error of some points only
    is reported in their rows. Raises InputError that names the file, the key and the value.
    """
    answerer = PointAnswerer()
    errors: list[InputError] = []
    has_valid_value = False
    for key in sweep.keys:
        for value, points in _group_points_by_value(sweep, key).items():
            error = _find_shared_error(answerer, sweep, key, points)
            if error is not None and _concerns_key(error, key, points[0]):
                error = _find_shared_error(answerer, sweep, key, _select_covering_points(sweep, key, value))
            if error is None:
                has_valid_value = True
            elif extract_option_key(error.key) == key:
                raise error.relocate(sweep.origin, sweep.key_locations[key]) from None
            elif _concerns_key(error, key, points[0]):
                raise error
            else:
                errors.append(error)
    if (
        not has_valid_value
        and len({str(item) for item in errors}) == 1
        and all(_find_point_error(answerer, sweep, p) for p in sweep.points)
    ):
        raise errors[0].relocate(errors[0].origin or sweep.origin)


def _group_points_by_value(sweep: Sweep, key: str) -> dict[str, list[SweepPoint]]:
    """The points with each value of a key, one for each model and cluster."""
    points_by_value: dict[str, dict[tuple[str, str], SweepPoint]] = {}
    for point in sweep.points:
        if key in point:
            pair = (format_option_value(point["model"]), format_option_value(point["cluster"]))
            points_by_value.setdefault(format_option_value(point[key]), {}).setdefault(pair, point)
    return {value: list(points.values()) for value, points in points_by_value.items()}


def _select_covering_points(sweep: Sweep, key: str, value: str) -> list[SweepPoint]:
    """Points with a value of a key that together have each value of every other key that occurs with it."""
    seen: set[tuple[str, str]] = set()
    selected = []
    for point in sweep.points:
        if key in point and format_option_value(point[key]) == value:
            pairs = {(name, format_option_value(entry)) for name, entry in point.items()}
            if not pairs <= seen:
                seen |= pairs
                selected.append(point)
    return selected


def _find_shared_error(
    answerer: PointAnswerer, sweep: Sweep, key: str, points: list[SweepPoint]
) -> InputError | None:
    """None where a point is valid; else the first error of this key, or the first error of any key."""
    errors: list[InputError] = []
    for point in points:
        error = _find_point_error(answerer, sweep, point)
        if error is None:
            return None
        errors.append(error)
    return next((candidate for candidate in errors if _concerns_key(candidate, key, points[0])), errors[0])


def _find_point_error(answerer: PointAnswerer, sweep: Sweep, point: SweepPoint) -> InputError | None:
    try:
        answerer.check_point(point, sweep.origin)
    except InputError as error:
        return error
    return None


def _concerns_key(error: InputError, key: str, point: SweepPoint) -> bool:
    """Whether an error names this key, or the file that its value names."""
    if key in FILE_KEYS and error.origin and error.origin.startswith(format_option_value(point[key])):
        return is_existing_path(format_option_value(point[key]))
    return extract_option_key(error.key) == key
