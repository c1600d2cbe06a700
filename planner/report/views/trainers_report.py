"""The trainers document as a report: one record a trainer, and of a single trainer one a rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from planner.documents.trainers import SupportRulePart, TrainerPart, TrainersDocument
from planner.report.report import Report, ReportRecord, ReportTable, build_columns
from planner.trainers.recompute import SelectiveRecompute

_LIST_HEADINGS = (
    *("name", "version", "plans for, or run by", "rules", "launch", "cp exchange", "gradients", "sent in"),
    *("calibration", "older versions", "source"),
)
_DROPPED_HEADINGS = ("source", "sent in", "cp exchange", "gradients", "launch", "calibration", "older versions")
"""Left out in a narrow terminal, in this order."""
_REPEATED: Mapping[SelectiveRecompute, str] = {
    "cheap": "norms and activations",
    "multiplies": "every second multiply",
    "modules": "the MLP; with experts norms and their activations; or unfused attention",
    "attention": "attention",
}
_RULE_HEADINGS = ("setting", "supported", "source")
_VERSION_HEADINGS = ("version", "since", "behaviour", "source")


def build_trainers_report(document: TrainersDocument) -> Report:
    """The list, or the rules of a single trainer."""
    if len(document.trainers) == 1:
        return _build_single_report(document.trainers[0])
    rows = [_build_row(part) for part in document.trainers]
    texts = [0, 1, 2, 4, 5, 6, 7, 8, 9, 10]
    return Report(
        command="trainers",
        title="Trainers",
        facts=[],
        records=[_build_record(part) for part in document.trainers],
        tables=[ReportTable("Trainers", build_columns(_LIST_HEADINGS, rows, texts, _DROPPED_HEADINGS))],
    )


def _build_single_report(part: TrainerPart) -> Report:
    records: list[ReportRecord] = [
        {"name": part.name, "setting": rule.setting, "supported": rule.supported, "source": rule.source}
        for rule in part.rules
    ]
    rows = list(_iterate_rule_rows(part.rules))
    columns = build_columns(_RULE_HEADINGS, rows, [0, 1, 2], headings_below=["source"])
    return Report(
        command="trainers",
        title=f"{part.name} {part.version}".strip(),
        facts=list(_list_facts(part)),
        records=records or [_build_record(part)],
        tables=[*([ReportTable("What it runs", columns)] if rows else []), *_build_version_tables(part)],
    )


def _build_version_tables(part: TrainerPart) -> Iterator[ReportTable]:
    # a version without a name has that of its month
    rows = [
        (version.name, "" if version.since == version.name else version.since, version.behaviour, version.source)
        for version in part.versions
    ]
    if rows:
        yield ReportTable("Versions", build_columns(_VERSION_HEADINGS, rows, [0, 1, 2, 3], headings_below=["source"]))


def _iterate_rule_rows(rules: Sequence[SupportRulePart]) -> Iterator[tuple[str, str, str]]:
    """A row a rule, without the setting's name before its values; parts of a model with the same rule are one row."""
    for (supported, source), group in groupby(rules, key=lambda rule: (rule.supported, rule.source)):
        settings = [rule.setting for rule in group]
        if len(settings) > 1 and all(setting.startswith("model.") for setting in settings):
            names = ", ".join(setting.removeprefix("model.") for setting in settings)
            yield "model", f"{supported}: {names}", source
        else:
            yield from ((setting, supported.removeprefix(f"{setting} "), source) for setting in settings)


def _list_facts(part: TrainerPart) -> Iterator[tuple[str, str]]:
    yield ("Plans of" if part.kind == "program" else "Run by"), ", ".join(part.runs)
    if part.source:
        yield "Source", part.source
    defaults = part.defaults
    copies = f", {defaults.gradient_copy_bytes:g} of them in 16 bit" if defaults.gradient_copy_bytes else ""
    yield (
        "Holds",
        f"bytes per parameter: weights {defaults.weight_bytes:g} (a shard {defaults.sharded_weight_bytes:g}), "
        f"gradients {defaults.gradient_bytes:g}{copies}, optimizer {defaults.optimizer_bytes:g}; "
        f"{defaults.loss_bytes_per_logit:g} bytes per logit of a plain loss",
    )
    other = f" ({defaults.unsharded_communication} without ZeRO)"
    yield (
        "Sends",
        f"gradients in {defaults.communication}"
        f"{other if defaults.unsharded_communication != defaults.communication else ''}, weights in "
        f"{part.own_values['gather']}, cp by {defaults.cp_exchange}",
    )
    overlaps_experts = part.own_values["ep_overlap"] == "yes"
    yield "Overlaps", "gradients, gathered weights" + (", all-to-all of experts" if overlaps_experts else "")
    yield (
        "Defaults",
        f"kernels {defaults.launch}, {defaults.gradients} gradients, ZeRO {defaults.zero_stage}; selective "
        f"recomputation repeats {_REPEATED[defaults.selective_recompute]}",
    )
    if part.run_defaults:
        yield "Runs", ", ".join(f"{name} {value}" for name, value in part.run_defaults.items())
    yield "Calibration", f"of {part.calibration}" if part.calibration else "the default's: no run of it was fitted"
    if not part.is_exported:
        yield "Export", "no files are written for it: `planner export --to` names the nearest trainers"
    yield "Own values", ", ".join(f"{name} {value}" for name, value in part.own_values.items())
    if part.written_settings:
        yield "Other values of", ", ".join(part.written_settings)
    own_order, *other_orders = part.rank_orders
    orders = f"numbered {own_order}" + (f", or {' or '.join(other_orders)} by an option" if other_orders else "")
    experts = "ep is a mesh axis inside tp" if part.has_expert_axis else "experts are shared by neighbours in a stage"
    yield "Ranks", f"{orders}; {experts}"


def _build_record(part: TrainerPart) -> ReportRecord:
    defaults = part.defaults
    return {
        "name": part.name,
        "kind": part.kind,
        "version": part.version,
        "runs": part.runs,
        "rules": len(part.rules),
        "versions": [version.name for version in part.versions],
        "calibration": part.calibration,
        "zero_stage": defaults.zero_stage,
        "launch": defaults.launch,
        "cp_exchange": defaults.cp_exchange,
        "gradients": defaults.gradients,
        "communication": defaults.communication,
        "weight_bytes": defaults.weight_bytes,
        "gradient_bytes": defaults.gradient_bytes,
        "optimizer_bytes": defaults.optimizer_bytes,
        "written_settings": part.written_settings,
        "rank_orders": part.rank_orders,
        "has_expert_axis": part.has_expert_axis,
        "source": part.source,
    }


def _build_row(part: TrainerPart) -> tuple[str, ...]:
    defaults = part.defaults
    return (
        part.name,
        part.version,
        ", ".join(part.runs),
        str(len(part.rules)),
        defaults.launch,
        defaults.cp_exchange,
        defaults.gradients,
        defaults.communication,
        part.calibration or "default",
        ", ".join(version.name for version in part.versions[1:]),
        part.source,
    )
