"""A check document and a diff document, made from the stored plan: for golden files, and with hostile words."""

from __future__ import annotations

from msgspec.structs import replace

from planner.documents.check import SCHEMA_VERSION as CHECK_VERSION
from planner.documents.check import CheckDocument, PlanCheckPart
from planner.documents.diff import DiffDocument
from planner.documents.figures import read_figure_values
from planner.documents.plan import PlanDocument
from planner.studies.conditions.evaluate import build_condition_part, evaluate_condition
from planner.studies.conditions.figures import build_compared_figures
from planner.studies.conditions.parse import parse_condition
from planner.studies.diff import compare_documents
from tests.report.test_formats import read_stored

REQUIRED = ("mfu >= 40%", "memory.headroom >= 40GiB", "carbon_kg < 100t")
OBSTACLE = "no plan fits: Llama on 8 x chip\n  nearest miss: tp 8\n  what would make it fit: 128 devices"


def base() -> PlanDocument:
    """The stored plan, its best alone."""
    document = read_stored()
    return replace(document, plans=document.plans[:1])


def head() -> PlanDocument:
    """The same with eight stages: a bubble that is 0.8 s longer, less memory, a step that is 0.9 s longer."""
    document = base()
    plan = document.plans[0]
    longer = {"pipeline_bubble": 0.8, "pipeline_send": 0.02, "forward": 0.08}
    terms = {name: seconds + longer.get(name, 0.0) for name, seconds in plan.terms.items()}
    step = sum(terms.values())
    memory = replace(plan.memory, weights_bytes=plan.memory.weights_bytes - 2.0**31)
    memory = replace(memory, total_bytes=memory.total_bytes - 2.0**31)
    slower = step / plan.step_time_s
    changed = replace(
        plan,
        strategy=replace(plan.strategy, pp=8, dp=plan.strategy.dp * plan.strategy.pp // 8),
        terms=terms,
        step_time_s=step,
        memory=memory,
        mfu=plan.mfu / slower,
        hfu=plan.hfu / slower,
        tokens_per_s=plan.tokens_per_s / slower,
        tokens_per_s_per_device=plan.tokens_per_s_per_device / slower,
    )
    return replace(document, plans=[changed])


def checked(name: str, line: int, document: PlanDocument | None, required: tuple[str, ...] = ()) -> PlanCheckPart:
    """One plan of a check document."""
    values = {} if document is None else read_figure_values(document)
    parts = [
        build_condition_part(evaluate_condition(parse_condition(text), values), line + 1 + n)
        for n, text in enumerate(required)
    ]
    met = all(part.met for part in parts)
    outcome = "nothing fits" if document is None else "met" if met else "not met"
    obstacle = OBSTACLE if document is None else ""
    return PlanCheckPart(
        name=name,
        line=line,
        outcome=outcome,
        obstacle=obstacle,
        requirements=[] if document is None else parts,
        plan=document,
        heterogeneous=None,
    )


def check_of(*parts: PlanCheckPart, file: str = "plan.toml") -> CheckDocument:
    """The document of a file."""
    outcome = "nothing fits" if any(part.outcome == "nothing fits" for part in parts) else "not met"
    return CheckDocument(schema_version=CHECK_VERSION, file=file, outcome=outcome, checked=list(parts))


def check_document(file: str = "plan.toml") -> CheckDocument:
    """A plan that meets some requirements, a plan without requirements, a plan that does not fit."""
    return check_of(
        checked("small", 5, base(), REQUIRED), checked("plain", 12, head()), checked("huge", 17, None), file=file
    )


def diff_document(files: tuple[str, str] = ("base.json", "head.json")) -> DiffDocument:
    """Plans that changed and break what they met, that came, went, stayed the same, and do not fit."""
    before = check_of(
        checked("small", 5, base(), ("mfu >= 50%",)),
        checked("old", 9, base()),
        checked("same", 12, base()),
        checked("huge", 17, None),
        checked("tight", 20, base()),
    )
    after = check_of(
        checked("small", 5, head(), ("mfu >= 50%",)),
        checked("same", 9, base()),
        checked("new", 12, head()),
        checked("huge", 17, None),
        checked("tight", 20, None),
    )
    required = [parse_condition("change.step_time_s <= 5%", build_compared_figures())]
    return compare_documents(before, after, files, 0.001, required)
