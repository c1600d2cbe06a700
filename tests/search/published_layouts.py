"""How far published layouts are from the best plan that is searched by default.

`python -m tests.search.published_layouts` writes the table of docs/explanation/layouts.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from planner.documents.plan import PlanPart
from planner.hardware.figures import FigureSource
from planner.hardware.layouts import PublishedLayout, list_published_layouts
from planner.request.notices import collect_warnings
from planner.request.plan_request import build_plan_request
from planner.request.resolve import ResolvedRequest, resolve_request
from planner.search.search import SearchTarget, search_plans
from planner.search.settings import enumerate_setting_scenarios
from planner.studies.plan_parts import build_plan_parts

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "layouts.md"
_TABLE = re.compile(r"^\| layout \|.*?\n\n", re.DOTALL | re.MULTILINE)
_DEGREES = ("tp", "pp", "cp", "ep", "vpp", "micro_batch")
LAYOUTS = {layout.name: (layout, source) for layout, source in list_published_layouts()}
MAX_EXCESS = 0.05
"""By how much longer than the best plan's a layout's step may be without a note that says why."""


@dataclass(frozen=True)
class ComparedLayout:
    """A layout as it was published, with whatever memory it takes, and the best plan of the default search."""

    layout: PublishedLayout
    source: FigureSource
    own: PlanPart
    best: PlanPart

    @property
    def excess(self) -> float:
        """The fraction by which the step of the layout is longer."""
        return self.own.step_time_s / self.best.step_time_s - 1.0

    @property
    def longer_terms(self) -> str:
        """The terms of the step that are longer by more than 2 % of the best step, the most first."""
        longer = {name: time_s - self.best.terms[name] for name, time_s in self.own.terms.items()}
        names = sorted((name for name in longer if longer[name] > 0.02 * self.best.step_time_s), key=longer.get)  # type: ignore[arg-type]
        return ", ".join(f"{name.replace('_', ' ')} +{longer[name]:.2g} s" for name in reversed(names))


def compare_layout(name: str) -> ComparedLayout:
    """The layout of this name and the best plan."""
    layout, source = LAYOUTS[name]
    values = {
        "model": layout.model,
        "cluster": layout.cluster,
        "devices": layout.devices,
        "global_batch": layout.batch,
        "seq_length": layout.seq_length,
        "precision": layout.precision,
    }
    with collect_warnings():
        resolved = resolve_request(build_plan_request(values))
    target = SearchTarget(top=1)
    best = search_plans(resolved.scenarios, resolved.space, target)
    return ComparedLayout(
        layout,
        source,
        _score_layout(layout, resolved),
        build_plan_parts(best, resolved.cluster, with_bottlenecks=False)[0],
    )


def _score_layout(layout: PublishedLayout, resolved: ResolvedRequest) -> PlanPart:
    """The best plan with all that the source states; under the rules of the trainer, if that runs it."""
    pins = {name: (getattr(layout, name),) for name in _DEGREES if getattr(layout, name) is not None}
    space = replace(resolved.space, allowed={**resolved.space.allowed, **pins})
    settings = {name: (value,) for name, value in layout.settings.items()}
    for programs in (resolved.scenarios[0].programs, ()):
        scenarios = [
            varied
            for scenario in resolved.scenarios
            for varied in enumerate_setting_scenarios(
                replace(scenario, memory_limit=None, programs=programs), settings
            )
        ]
        result = search_plans(scenarios, space, SearchTarget(top=1))
        if result.stats.feasible:
            return build_plan_parts(result, resolved.cluster, with_bottlenecks=False)[0]
    raise AssertionError(f"{layout.name} fits nowhere")


def format_row(compared: ComparedLayout) -> str:
    """A row of the table."""
    layout, memory = compared.layout, compared.own.memory
    cells = [
        f"[{layout.title}]({compared.source.url})",
        _format_degrees(compared.own),
        f"{memory.total_bytes / memory.capacity_bytes:.0%}",
        _format_degrees(compared.best),
        f"{compared.excess:+.1%}",
        compared.longer_terms if compared.excess > MAX_EXCESS else "",
        layout.note,
    ]
    return f"| {' | '.join(cells)} |"


def _format_degrees(plan: PlanPart) -> str:
    strategy = plan.strategy
    degrees = {name: getattr(strategy, name) for name in ("tp", "pp", "dp", "cp", "ep", "vpp")}
    return " ".join(f"{name} {size}" for name, size in degrees.items() if size > 1)


def render_table() -> str:
    """The table of all layouts."""
    headings = ["layout", "its degrees", "memory", "best plan", "its step", "longer", "note"]
    rows = [format_row(compare_layout(name)) for name in LAYOUTS]
    return "\n".join([f"| {' | '.join(headings)} |", f"|{' --- |' * len(headings)}", *rows]) + "\n\n"


def main() -> None:
    """Write the table."""
    text = PAGE.read_text("utf-8")
    PAGE.write_text(_TABLE.sub(lambda _: render_table(), text, count=1), "utf-8")


if __name__ == "__main__":
    main()
