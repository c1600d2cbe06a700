"""The compare document as a report: one record a cluster, also of those that are ruled out."""

from __future__ import annotations

from planner.documents.compare import CompareDocument, OfferPart
from planner.documents.plan import StrategyPart
from planner.documents.sizing import SizePart
from planner.report.report import (
    Bar,
    Bars,
    Case,
    Piece,
    Report,
    Table,
    Value,
)
from planner.report.views.compare_text import WORDS, heading, rows_of, sentences
from planner.report.views.size_report import days_bars, money_and_time, size_fields, usd_bars
from planner.report.views.size_text import energy_text
from planner.units import DAY_S

_KEYS = (*(name for name in SizePart.__struct_fields__ if name != "strategy"), *StrategyPart.__struct_fields__)


def compare_report(document: CompareDocument) -> Report:
    """The whole answer of `compare`."""
    title = f"{document.model.title} on {len(document.offers)} clusters"
    found = [(offer.name, offer.size) for offer in document.offers if offer.size is not None]
    return Report(
        command="compare",
        title=title,
        facts=[("Compared", heading(document))],
        records=[_record(document, number, offer) for number, offer in enumerate(document.offers, 1)],
        tables=list(_tables(document)),
        charts=[
            days_bars("Time of the run", found, document.deadline_days),
            usd_bars("Rent of the run", found, document.budget_usd),
            _energy_bars(found),
            *money_and_time(found, found[0][1] if found else None),
        ]
        if found
        else [],
        sentences=sentences(document),
        cases=[_case(title, offer) for offer in document.offers],
    )


def _record(document: CompareDocument, number: int, offer: OfferPart) -> dict[str, Value]:
    """One cluster, flat; null instead of figures where it is ruled out, with the reason last."""
    run = document.run
    record: dict[str, Value] = {"rank": None if offer.size is None else number, "model": document.model.name}
    record |= {"tokens": run.tokens, "steps": run.steps, "global_batch": run.global_batch}
    record |= {"cluster": offer.name, "accelerator": offer.accelerator, "frameworks": offer.frameworks}
    record |= {"clouds": offer.clouds, "on_front": offer.on_front, "calibrated": offer.calibrated}
    record |= dict.fromkeys(_KEYS) if offer.size is None else size_fields(offer.size)
    return record | {"ruled_out": offer.ruled_out}


def _tables(document: CompareDocument) -> list[Table]:
    rows = rows_of(document)
    tables = []
    if rows:
        words = frozenset(number for number, name in enumerate(rows[0]) if name in WORDS)
        title = f"Clusters, the best by {document.ranked_by} first"
        tables.append(Table(title, list(rows[0]), [list(row.values()) for row in rows], words))
    ruled_out = [(offer.name, offer.ruled_out) for offer in document.offers if offer.size is None]
    if ruled_out:
        tables.append(Table("Ruled out", ("cluster", "why"), ruled_out, frozenset({0, 1})))
    return tables


def _energy_bars(sizes: list[tuple[str, SizePart]]) -> Bars:
    """Energy at the meter; no bar where it is not known."""
    drawn = []
    for label, size in sizes:
        said = energy_text(size) or "not known"
        pieces = [] if size.energy_kwh is None else [Piece("energy", size.energy_kwh, f"{label}: {said}")]
        drawn.append(Bar(label, said, pieces))
    return Bars("Energy of the run", drawn)


def _case(title: str, offer: OfferPart) -> Case:
    """A cluster passes, or is left out with what rules it out."""
    if offer.size is None:
        return Case(title, offer.name, skipped=offer.ruled_out)
    return Case(title, f"{offer.name}, {offer.size.nodes:,} nodes", DAY_S * offer.size.days)
