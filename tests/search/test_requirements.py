"""The language of requirements: values, refusals, and no other effects."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from planner.documents.figures import collect_figures, flatten_part, read_figure_values
from planner.documents.plan import PlanDocument
from planner.errors import InputError
from planner.studies.conditions.evaluate import evaluate_condition
from planner.studies.conditions.figures import PLAN_FIGURES, build_compared_figures, compute_compared_values
from planner.studies.conditions.parse import parse_condition
from planner.studies.conditions.tokens import MAX_CONDITION_CHARS
from tests.report.test_formats import STORED

DOCUMENT = msgspec.json.decode(STORED.read_bytes(), type=PlanDocument)
VALUES = read_figure_values(DOCUMENT)
KNOWN = {
    **dict.fromkeys(PLAN_FIGURES),
    "mfu": 0.4,
    "step_time_s": 10.0,
    "memory.headroom": 5 * 2.0**30,
    "memory.capacity": 80 * 2.0**30,
    "days": 20 * 86_400.0,
    "tokens": 15e12,
    "cost_usd_per_step": 3.0,
    "energy_j_per_step": 7.2e6,
    "power_w": 12_000.0,
    "strategy.tp": 8,
    "strategy.recompute": "full",
    "strategy.sequence_parallel": True,
    "terms.pipeline_bubble": 0.5,
}
MET = [
    "mfu >= 0.4", "mfu >= 40%", "mfu == 40 %", "not mfu < 0.4", "mfu > 0.3 and mfu < 0.5", "(mfu > 1) or mfu <= 0.4",
    "memory.headroom >= 5GiB", "memory.headroom > 5GB", "memory.headroom < 6e9",
    "memory.headroom / memory.capacity > 6%",
    "days < 30", "days < 30d", "days < 3w", "days + 1d == 21", "days * 24 == 480", "days > 400h", "days / 1d == 20",
    "step_time_s == 10", "step_time_s <= 10000ms", "terms.pipeline_bubble / step_time_s <= 5%",
    "tokens == 15T", "cost_usd_per_step < 1k", "cost_usd_per_step < 4USD", "cost_usd_per_step / step_time_s < 1",
    "energy_j_per_step == 2kWh", "energy_j_per_step / step_time_s > 700kW", "power_w <= 12kW",
    "strategy.tp == 8", "strategy.recompute == 'full'", 'strategy.recompute != "none"',
    "strategy.sequence_parallel", "strategy.sequence_parallel == true", "strategy.sequence_parallel == yes",
    "strategy.sequence_parallel != no", "tokens == 15000B", "tokens >= 100B", "tokens > 1K", "tokens >= 15e3G",
    "strategy.recompute == full", "strategy.recompute==full and mfu > 0.1", "(strategy.recompute != none)",
    "strategy.recompute == strategy.recompute", "MFU >= 0.4 AND Step_Time_s > 1",
    "-mfu < -0.3", "1 - mfu == 0.6", "2 * (1 + 2) == 6", "1 - 2 - 3 == -4", "8 / 4 / 2 == 1", "1 + 2 * 3 == 7",
    "(days < 30) == true", "true == (days < 30)", "(days < 10) == false", "true != (mfu > 1)",
    "step_time_s * power_w <= 0.1kWh", "power_w * step_time_s > 0.03kWh", "-mfu * -2 == 0.8", "24 * days == 480",
    "true or hfu > 1", "not (hfu > 1 and false)", "1_000 < 1001", "memory.headroom/1GiB == 5",
]  # fmt: skip
NOT_MET = {
    "mfu >= 45%": "mfu is 40 %, required at least 45 % (11 % off)",
    "step_time_s < 10": "step_time_s is 10.0, required less than 10.0",
    "days <= 10": "days is 20.0 days, required at most 10.0 days (100 % off)",
    "memory.headroom >= 50GiB": "memory.headroom is 5.00 GiB, required at least 50.00 GiB (90 % off)",
    "strategy.recompute == 'none'": "strategy.recompute is full, required none",
    "not strategy.sequence_parallel": "strategy.sequence_parallel is true (strategy.sequence_parallel is yes)",
    "mfu > 50% and step_time_s > 5": "mfu is 40 %, required more than 50 % (20 % off)",
    "mfu > 50% or step_time_s > 50": "step_time_s is 10.0 s, required more than 50.0 s (80 % off)",
    "mfu / 0 > 1": "mfu / 0 > 1 has no finite value",
    "2 * mfu > mfu + 1": "2 * mfu is 0.8, required more than 1.4 (43 % off)",
    "step_time_s > days": "step_time_s is 10.0 s, required more than 1,728,000 s (days)",
}
NAMES_OF_SETTINGS = {
    "settings.schedule == 1f1b": {"settings.schedule": "1f1b"},
    "settings.cp_exchange == all-gather": {"settings.cp_exchange": "all-gather"},
    "settings.shard_group == all": {"settings.shard_group": "all"},
    "settings.shard_group == 8": {"settings.shard_group": "8"},
    "settings.offload == none": {"settings.offload": "none"},
    "settings.offload == weights+optimizer": {"settings.offload": "optimizer+weights"},
    "settings.order == tp-cp-dp-pp": {"settings.order": "tp-cp-dp-pp"},
    "settings.tp_overlap == yes": {"settings.tp_overlap": True},
    "model == llama-3-8b": {"model": "llama-3-8b"},
}
REFUSED = {
    "mfuu > 0.4": "did you mean mfu?",
    "terms.pipeline_buble < 1": "did you mean terms.pipeline_bubble?",
    "memory.headroom > 5s": "incompatible units: bytes and seconds at character 19",
    "step_time_s + memory.total > 1": "seconds and bytes",
    "memory.headroom > 10%": "bytes and a plain number",
    "memory.headroom > 5M": "count suffix on bytes",
    "memory.headroom > 5B": "count suffix on bytes",
    "tokens > 5Q": "K, M, B, T",
    "memory.headroom > 5GiBs": "unknown suffix GiBs",
    "days + step_time_s > 3": "a unit, such as 30d",
    "mfu": "not a condition",
    "mfu + 1": "not a condition",
    "mfu and true": "value where a condition is expected",
    "0.1 < mfu < 0.5": "chained comparison at character 11",
    "mfu = 0.4": "== for a comparison",
    "mfu >": "unexpected end",
    "mfu > 0.4 0.5": "unexpected 0.5",
    "(mfu > 0.4": "a closing bracket",
    "mfu > 0.4)": "unexpected )",
    "and": "unexpected and",
    "strategy.recompute == 'ful'": "did you mean full?",
    "framework == 'megatrom'": "did you mean megatron?",
    "strategy.recompute > 'full'": "texts and truth values have no order",
    "strategy.recompute == 3": "one of none, selective, full",
    "strategy.recompute == fulll": "did you mean full?",
    "strategy.recompute == true": "one of none, selective, full",
    "strategy.sequence_parallel == on": "expected: yes or no",
    "strategy.sequence_parallel == 3": "yes or no",
    "settings.offload == nonne": "did you mean none?",
    "settings.shard_group == some": "one of all, or a whole number",
    "strategy.recompute + 1 == 2": "not a number",
    "mfu > 1e40": "number too large",
    "mfu > 0.4; import os": "unexpected character at character 10",
    "model == 'a\x1b[31m'": "unexpected character at character 10",
    "__import__('os')": "unknown figure",
    "mfu ** 2 > 1": "unexpected *",
    "mfu > 5..": "unknown suffix .. at character 8",
    "mfu == 'forty'": "sides of different types at character 8",
    "(mfu > 1 or mfu > 2) + 1 > 0": "not a number at character 2",
    "memory.headroom > 5k + 1": "count suffix on bytes at character 19",
    "memory.headroom > 2 * 5k": "count suffix on bytes at character 19",
    "memory.headroom / step_time_s > tokens": "bytes/seconds and a plain number",
    "": "is empty",
    "  ": "is empty",
    "mfu > " + "1" * MAX_CONDITION_CHARS: "too long",
    "(" * 200: "too many nested brackets",
    "not " * 100 + "(" * 26: "too many nested brackets",
}  # fmt: skip


def test_a_runs_energy_is_known_where_the_power_is() -> None:
    assert DOCUMENT.power is not None
    assert read_figure_values(DOCUMENT)["energy_j"] == DOCUMENT.power.run_j
    assert read_figure_values(msgspec.structs.replace(DOCUMENT, power=None))["energy_j"] is None


def test_figures_of_terms_are_described_in_words_and_seconds() -> None:
    for name, words in {
        "hidden.data_parallel": "data parallel overlapped with compute",
        "terms.pipeline_bubble": "pipeline bubble",
    }.items():
        assert words in PLAN_FIGURES[name].description
        assert PLAN_FIGURES[name].unit == "s"


def test_every_figure_of_a_whole_document_is_known() -> None:
    values = read_figure_values(DOCUMENT)
    assert set(values) == set(PLAN_FIGURES)
    unknown = {name for name, value in values.items() if value is None}
    assert unknown == {name for name in PLAN_FIGURES if name.startswith("uncertainty.")}
    assert DOCUMENT.run is not None
    assert DOCUMENT.run.days_with_failures is not None
    longer = DOCUMENT.run.days_with_failures / DOCUMENT.run.days
    assert values["cost_usd_with_failures"] == pytest.approx(values["cost_usd"] * longer)
    expected = {
        "precision": DOCUMENT.scenario.precision,
        "model": DOCUMENT.model.name,
        "cluster": DOCUMENT.cluster.name,
        "tokens": DOCUMENT.run.tokens,
        "days_with_failures": DOCUMENT.run.days_with_failures * 86_400,
        "settings.offload": "none",
    }
    assert {name: values[name] for name in expected} == expected


def test_each_figure_is_declared_once_for_schema_conditions_and_records() -> None:
    schema, record = PlanDocument.build_json_schema(), flatten_part(DOCUMENT.best_plan)
    for name, figure in collect_figures(PlanDocument).items():
        assert figure.label, name
        parse_condition(f"{name} == {name}")
        node = {"$ref": schema["$ref"]}
        for key in figure.path:
            node = find_in_schema(schema, node, key)
        if node is None:  # a figure that follows from other fields
            costs = {"cost_usd", "cost_usd_p10", "cost_usd_p90", "cost_usd_with_failures"}
            assert name in {"memory.headroom", *costs, "uncertainty.step_time_p90_s"}
        elif figure.path[-2] not in ("terms", "overlapped"):
            assert node.get("description") == figure.description, name
        if figure.path[0] == "best_plan" and node is not None:
            assert figure.unit == "text" or record[figure.column] == VALUES[name], name


def find_in_schema(schema: dict, node: dict | None, key: str) -> dict | None:
    """The schema of a key of an object; None for a field that is not printed."""
    if node is None:
        return None
    node = next((part for part in node.get("anyOf", [node]) if "$ref" in part), node)
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    if key == "best_plan":
        return node["properties"]["plans"]["items"]
    return node["properties"].get({"overlapped": "hidden", "scenario": "training"}.get(key, key))


def test_figures_of_two_documents_have_both_names_and_their_change() -> None:
    compared = build_compared_figures()
    assert set(compared) == {f"{side}.{name}" for side in ("base", "head") for name in PLAN_FIGURES} | {
        name for name in compared if name.startswith("change.")
    }
    for name, figure in compared.items():
        side, _, plain = name.partition(".")
        assert figure.name == name
        assert figure.prerequisites == PLAN_FIGURES[plain].prerequisites
        if side == "change":
            assert (figure.unit, figure.description) == ("ratio", f"relative change of {plain}")
        else:
            assert (figure.unit, figure.description) == (PLAN_FIGURES[plain].unit, PLAN_FIGURES[plain].description)


@pytest.mark.parametrize("text", MET)
def test_a_true_condition_is_met(text: str) -> None:
    assert evaluate_condition(parse_condition(text), KNOWN).explanation == ""


@pytest.mark.parametrize("text", NAMES_OF_SETTINGS)
def test_values_of_settings_are_written_as_their_options_take_them(text: str) -> None:
    assert evaluate_condition(parse_condition(text), NAMES_OF_SETTINGS[text]).is_met
    assert not evaluate_condition(parse_condition(text.replace("==", "!=")), NAMES_OF_SETTINGS[text]).is_met
    assert not evaluate_condition(parse_condition(text), dict.fromkeys(NAMES_OF_SETTINGS[text], "other")).is_met


@pytest.mark.parametrize("text", NOT_MET)
def test_a_condition_that_is_not_met_reports_the_value_and_the_requirement(text: str) -> None:
    verdict = evaluate_condition(parse_condition(text), KNOWN)
    assert not verdict.is_met
    assert NOT_MET[text] in verdict.explanation


@pytest.mark.parametrize("text", REFUSED)
def test_a_malformed_condition_is_refused(text: str) -> None:
    with pytest.raises(InputError) as error:
        parse_condition(text, origin="plan.toml", key="plans[0].require[0]")
    assert str(error.value).startswith("plan.toml: plans[0].require[0]: ")
    assert REFUSED[text] in str(error.value)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("cost_usd", "--tokens"),
        ("days", "--tokens"),
        ("carbon_kg", "--grid"),
        ("goodput", "--no-failures"),
        ("uncertainty.first_share", "--uncertainty"),
        ("energy_j_per_step", "power of this accelerator"),
    ],
)
def test_an_unknown_figure_is_not_met_and_reports_the_option_that_makes_it_known(name: str, option: str) -> None:
    for text in (f"{name} < 1e20", f"not {name} < 1e20", f"{name} < 1e20 and mfu > 0"):
        verdict = evaluate_condition(parse_condition(text), {**dict.fromkeys(PLAN_FIGURES), "mfu": 0.4})
        assert not verdict.is_met
        assert f"{name} is not known: " in verdict.explanation
        assert option in verdict.explanation
    assert evaluate_condition(parse_condition(f"{name} < 1e20 or mfu > 0"), {"mfu": 0.4}).is_met


def test_a_missing_price_is_reported_where_the_tokens_are_known() -> None:
    values = {**VALUES, "cost_usd": None, "cost_usd_per_step": None}
    assert (
        "no rental price of this accelerator is known"
        in evaluate_condition(parse_condition("cost_usd < 1"), values).explanation
    )


def test_the_table_has_the_figures_of_the_document() -> None:
    assert list(VALUES) == sorted(VALUES, key=list(VALUES).index)
    assert set(VALUES) == set(PLAN_FIGURES)
    types = {"text": str, "truth": bool}
    for name, value in VALUES.items():
        if value is not None:
            assert isinstance(value, types.get(PLAN_FIGURES[name].unit, int | float)), name
    plan = DOCUMENT.plans[0]
    assert VALUES["memory.headroom"] == plan.memory.capacity_bytes - plan.memory.total_bytes
    assert DOCUMENT.run is not None
    assert VALUES["cost_usd"] == DOCUMENT.run.steps * plan.cost_usd_per_step
    assert sum(VALUES[name] for name in VALUES if name.startswith("terms.")) == pytest.approx(plan.step_time_s)


def test_two_plans_are_compared_in_the_same_language() -> None:
    slower = {**VALUES, "step_time_s": VALUES["step_time_s"] * 1.05}
    values, figures = compute_compared_values(VALUES, slower), build_compared_figures()
    for text in ("change.step_time_s <= 6%", "head.step_time_s > base.step_time_s", "change.mfu == 0"):
        assert evaluate_condition(parse_condition(text, figures), values).is_met, text
    explanation = evaluate_condition(parse_condition("change.step_time_s <= 4%", figures), values).explanation
    assert explanation == "change.step_time_s is 5 %, required at most 4 % (25 % off)"
    with pytest.raises(InputError, match="unknown figure"):
        parse_condition("change.strategy.recompute == 0", figures)


PIECES = (
    *list(PLAN_FIGURES)[:20],
    "(", ")", "and", "or", "not", "<", ">=", "==", "+", "-", "*", "/", "1", "40%", "5GiB", "30d",
    "'x'", "true", "2e6", "memory.total", "strategy.recompute", "days", ".", "=", "\x00", "∞",
)  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=30).map(" ".join) | st.text(max_size=600))
@example("(" * MAX_CONDITION_CHARS)
@example("mfu" + "+mfu" * 120 + ">1")
@example("1" + "-" * 400 + "1<2")
@example("not " * 120 + "mfu>1")
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        requirement = parse_condition(text)
    except InputError as error:
        assert len(str(error)) < 4000
    else:
        verdict = evaluate_condition(requirement, VALUES)
        assert verdict.is_met is (verdict.explanation == "")


@st.composite
def random_conditions(draw: st.DrawFn, depth: int = 3) -> str:
    """A condition, with every bracket written out so that Python reads it alike."""
    if depth == 0 or draw(st.booleans()):
        left, right = draw(random_sums()), draw(random_sums())
        return f"({left} {draw(st.sampled_from(['<', '<=', '>', '>=']))} {right})"
    if draw(st.booleans()):
        return f"(not {draw(random_conditions(depth=depth - 1))})"
    joined = draw(st.sampled_from(["and", "or"]))
    return f"({draw(random_conditions(depth=depth - 1))} {joined} {draw(random_conditions(depth=depth - 1))})"


@st.composite
def random_sums(draw: st.DrawFn, depth: int = 2) -> str:
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(["mfu", "hfu", "2", "0.5", "1e3"]))
    return (
        f"({draw(random_sums(depth=depth - 1))} {draw(st.sampled_from('+-*'))} {draw(random_sums(depth=depth - 1))})"
    )


@given(
    random_conditions().filter(lambda text: len(text) < MAX_CONDITION_CHARS - 10), st.floats(0, 1), st.floats(0, 1)
)
def test_a_condition_is_evaluated_as_in_arithmetic(text: str, mfu: float, hfu: float) -> None:
    wanted = eval(text, {"__builtins__": {}}, {"mfu": mfu, "hfu": hfu})
    assert evaluate_condition(parse_condition(text), {"mfu": mfu, "hfu": hfu}).is_met is wanted
    assert evaluate_condition(parse_condition(f"not {text}"), {"mfu": mfu, "hfu": hfu}).is_met is not wanted
