"""A point of a sweep, answered as by `plan`: its best plan as a flat record."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

from planner.errors import InputError, NothingFits, PlannerError
from planner.request.notices import collect_warnings

if TYPE_CHECKING:
    from planner.cli.sweeps.grid import SweepPoint
    from planner.cluster.model.cluster import Cluster
    from planner.documents.heterogeneous import HeterogeneousDocument
    from planner.documents.plan import PlanDocument
    from planner.report.report import RecordValue
    from planner.request.plan_request import PlanRequest
    from planner.workload.operators import Workload

STATUS_PLANNED, INFEASIBLE, BAD_INPUT, STATUS_FAILED = "planned", "nothing fits", "bad input", "failed"
"""The status of a point; the last means a bug or a failure of the machine."""
STATUS_COLUMN, REASON_COLUMN = "status", "reason"
_CACHED_INPUTS = 16
"""Models and clusters in the cache, which neighbouring points share."""


class PointAnswerer:
    """Answers the points of a sweep; models and clusters that points share are read once."""

    def __init__(self) -> None:
        from planner.request.inputs import read_cluster, read_model

        self._read_model = functools.lru_cache(_CACHED_INPUTS)(read_model)
        self._read_cluster = functools.lru_cache(_CACHED_INPUTS)(read_cluster)

    def encode_answer(self, point: SweepPoint) -> bytes:
        """The record as JSON, in the same bytes from every kind of worker."""
        import msgspec

        return msgspec.json.encode(self.build_record(point))

    def build_record(self, point: SweepPoint) -> dict[str, RecordValue]:
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

    def _answer_request(self, point: SweepPoint, origin: str, *, search: bool) -> dict[str, RecordValue]:
        """The record of the point's best plan; empty without a search."""
        from planner.request.answer import compute_document, compute_pools_document, read_request_pools
        from planner.request.plan_request import build_plan_request
        from planner.request.resolve import resolve_request

        request = replace(build_plan_request(point, origin=origin), top=1)
        pools = read_request_pools(request, ignored=("top",))
        if pools is not None:
            return _build_pools_record(compute_pools_document(request, pools)) if search else {}
        resolved = resolve_request(request, self._read_inputs)
        # without the sentence on bottlenecks, which takes a third of the time: the table has the terms of the step
        return _build_plan_record(compute_document(request, resolved, explained=False)) if search else {}

    def _read_inputs(self, request: PlanRequest) -> tuple[Workload, Cluster]:
        return (
            self._read_model(request.model, request.seq_length),
            self._read_cluster(request.cluster, request.nodes, request.devices, request.fault),
        )


def build_failed_record(reason: str) -> dict[str, RecordValue]:
    """The record of a point whose answer raised an unexpected error or ended its process."""
    return {STATUS_COLUMN: STATUS_FAILED, REASON_COLUMN: " ".join(reason.split())}


def _build_error_record(status: str, error: PlannerError) -> dict[str, RecordValue]:
    """The record of a point without a plan, with the message on one line."""
    return {
        STATUS_COLUMN: status,
        REASON_COLUMN: "; ".join(" ".join(line.split()) for line in str(error).splitlines()),
    }


def _build_pools_record(document: HeterogeneousDocument) -> dict[str, RecordValue]:
    """The best plan on a heterogeneous cluster, and its run."""
    from planner.report.views.heterogeneous_report import build_hetero_record

    model, cluster, run = document.model, document.cluster, document.run
    return {
        "parameters": model.parameters,
        "seq_length": model.seq_length,
        "devices": cluster.devices,
        "precision": document.scenario.precision,
        "global_batch": document.scenario.global_batch,
        **build_hetero_record(document.best_plan),
        "days": run.days if run else None,
    }


def _build_plan_record(document: PlanDocument) -> dict[str, RecordValue]:
    """The first plan with the sizes of model and cluster, and the figures of its whole run."""
    from planner.documents.figures import flatten_part

    model, cluster, run = document.model, document.cluster, document.run
    failures, carbon = document.reliability, document.carbon
    plan = {name: value for name, value in flatten_part(document.best_plan).items() if name != "bottleneck"}
    return {
        "parameters": model.parameters,
        "seq_length": model.seq_length,
        "accelerator": cluster.accelerator,
        "nodes": cluster.nodes,
        "devices": cluster.devices,
        "precision": document.scenario.precision,
        **plan,
        "mean_w": document.power.mean_w if document.power else None,
        "goodput_share": failures.goodput_share if failures else None,
        "days": run.days if run else None,
        "days_with_failures": run.days_with_failures if run else None,
        "kg_co2e_per_step": carbon.kg_per_step if carbon else None,
        "kg_co2e_of_run": carbon.kg_of_run if carbon else None,
    }
