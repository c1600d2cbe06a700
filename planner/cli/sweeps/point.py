"""One point of a sweep, asked as `plan` asks it: its best plan as one flat record."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

from planner.cli.input.arguments import parse_command_arguments
from planner.cli.io.output import collect_warnings
from planner.errors import InputError, NothingFits, PlannerError

if TYPE_CHECKING:
    from planner.cli.options.question import ScenarioOptions
    from planner.cli.sweeps.grid import Point
    from planner.cluster.model.cluster import Cluster
    from planner.documents.heterogeneous import HeterogeneousDocument
    from planner.documents.plan import Document
    from planner.report.report import Value
    from planner.workload.operators import Workload

PLANNED, UNFIT, WRONG, FAILED = "planned", "nothing fits", "bad input", "failed"
"""What became of a point: the last is a fault of the program or of the machine."""
STATUS, REASON = "status", "reason"
_REMEMBERED = 16
"""Models and clusters that are kept: neighbouring points share them."""


class Asker:
    """Answers the points of one sweep; models and clusters that points share are read once."""

    def __init__(self) -> None:
        self._workload = functools.lru_cache(_REMEMBERED)(_workload)
        self._cluster = functools.lru_cache(_REMEMBERED)(_cluster)

    def answered(self, point: Point) -> bytes:
        """The record as JSON: the bytes that are sent, kept and read, whoever answers."""
        import msgspec

        return msgspec.json.encode(self.record(point))

    def record(self, point: Point) -> dict[str, Value]:
        """What became of a point, and its best plan. What goes wrong is told in the record, not raised."""
        try:
            # what `plan` would warn of is said once, when the sweep is checked
            with collect_warnings():
                return {STATUS: PLANNED, REASON: "", **self._read(point, "", search=True)}
        except NothingFits as error:
            return _told(UNFIT, error)
        except InputError as error:
            return _told(WRONG, error)
        except Exception as error:
            return failed(f"{type(error).__name__}: {error}")

    def check(self, point: Point, origin: str) -> None:
        """Read all that a point asks without answering it. Raises InputError."""
        self._read(point, origin, search=False)

    def _read(self, point: Point, origin: str, *, search: bool) -> dict[str, Value]:
        """The record of the point's best plan; empty where no search is wanted."""
        from planner.cli.input.answers import (
            build_plan_request,
            compute_plan_document,
            read_request_pools,
            resolve_request,
        )
        from planner.cli.options.pools import search_pools_document

        options = build_plan_request(parse_command_arguments(point, origin))
        pools = read_request_pools(options)
        if pools is not None:
            return (
                _best_way(search_pools_document(pools, options.scenario_options, options.space_pins, options.tokens))
                if search
                else {}
            )
        asked = resolve_request(replace(options, goal=replace(options.goal, top=1)), self._subject)
        # what limits a plan is a sentence that takes a third of the time: a table has the terms of the step
        return _best_plan(compute_plan_document(asked, with_explanations=False)) if search else {}

    def _subject(self, question: ScenarioOptions, pue: str | None) -> tuple[Workload, Cluster]:
        faults = tuple(question.faults or ())
        cluster = self._cluster(question.cluster, question.nodes, question.devices, faults, pue)
        return self._workload(question.model, question.seq_length), cluster


def failed(reason: str) -> dict[str, Value]:
    """The record of a point that broke the program, or the process that answered it."""
    return {STATUS: FAILED, REASON: " ".join(reason.split())}


def _told(status: str, error: PlannerError) -> dict[str, Value]:
    """The record of a point without a plan: the message in one line."""
    return {STATUS: status, REASON: "; ".join(" ".join(line.split()) for line in str(error).splitlines())}


def _workload(model: str, seq_length: str | None) -> Workload:
    from planner.cli.input.inputs import read_model, read_seq_length

    return read_model(model, read_seq_length(seq_length))


def _cluster(name: str, nodes: str | None, devices: str | None, faults: tuple[str, ...], pue: str | None) -> Cluster:
    from planner.cli.input.inputs import read_cluster, read_whole_number
    from planner.cli.options.carbon import replace_pue

    read = read_cluster(name, read_whole_number(nodes, "--nodes"), read_whole_number(devices, "--devices"), faults)
    return replace_pue(read, pue)


def _best_way(document: HeterogeneousDocument) -> dict[str, Value]:
    """The best way to use two kinds of nodes, and its run."""
    from planner.report.views.heterogeneous_report import way_record

    model, cluster, run = document.model, document.cluster, document.run
    return {
        "parameters": model.parameters,
        "seq_length": model.seq_length,
        "devices": cluster.devices,
        "precision": document.training.precision,
        "global_batch": document.training.global_batch,
        **way_record(document.ways[0]),
        "days": run.days if run else None,
    }


def _best_plan(document: Document) -> dict[str, Value]:
    """The first plan with the sizes of what it is of, and what its whole run comes to."""
    from planner.report.views.plan_report import plan_record

    model, cluster, run = document.model, document.cluster, document.run
    failures, carbon = document.reliability, document.carbon
    plan = {name: value for name, value in plan_record(document.plans[0]).items() if name != "bottleneck"}
    return {
        "parameters": model.parameters,
        "seq_length": model.seq_length,
        "accelerator": cluster.accelerator,
        "nodes": cluster.nodes,
        "devices": cluster.devices,
        "precision": document.training.precision,
        **plan,
        "mean_w": document.power.mean_w if document.power else None,
        "goodput_share": failures.goodput_share if failures else None,
        "days": run.days if run else None,
        "days_with_failures": run.days_with_failures if run else None,
        "kg_co2e_per_step": carbon.kg_per_step if carbon else None,
        "kg_co2e_of_run": carbon.kg_of_run if carbon else None,
    }
