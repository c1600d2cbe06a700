"""Each setting is declared once: a row of the table is an option, a key, a field of documents and a figure."""

from __future__ import annotations

from dataclasses import fields

import pytest

from planner.api import SharedOptions
from planner.cli.completion.manual import build_manual_pages
from planner.cli.options.words import list_option_words
from planner.cost.scenario import Scenario
from planner.cost.setting_values import read_settings
from planner.cost.settings import SETTINGS, PlanSettings, Setting, SettingOptions
from planner.cost.step import STEP_TERMS
from planner.documents.plan import SettingsPart
from planner.request.options import GROUPS, list_option_keys, list_options
from planner.studies.conditions.figures import PLAN_FIGURES
from tests.examples import lab_scenario

PAGES = build_manual_pages()


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=list(SETTINGS))
def test_a_setting_is_everywhere(setting: Setting) -> None:
    name, option = setting.name, f"--{setting.name.replace('_', '-')}"
    for command in ("plan", "estimate", "what-if"):
        assert name in list_option_keys(command)
        assert option.replace("-", "\\-") in PAGES[f"{'' if command == 'plan' else 'planner-'}{command}.1"]
    (declared,) = (key for key in list_options() if key.name == name)
    assert declared.in_space
    assert name in SharedOptions.__annotations__
    assert name in SettingsPart.__struct_fields__
    assert PLAN_FIGURES[f"settings.{name}"].description == setting.description
    every = set() if setting.kind == "quantity" else {"all"}
    assert {word for word, _ in list_option_words(declared)} == {*setting.values} | every
    assert setting.group in GROUPS
    assert set(setting.terms) <= set(STEP_TERMS)
    assert bool(setting.affects) == bool(setting.otherwise)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=list(SETTINGS))
def test_the_usual_value_of_a_setting_is_the_first(setting: Setting) -> None:
    assert setting.parse_name(setting.values[0]) == read_settings(lab_scenario())[setting.name]


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=list(SETTINGS))
def test_names_and_values_of_a_setting_are_inverse(setting: Setting) -> None:
    assert [setting.format_value(setting.parse_name(name)) for name in setting.values] == list(setting.values)


def test_documents_and_python_have_the_settings_of_the_table() -> None:
    assert SettingsPart.__struct_fields__ == tuple(PlanSettings.__annotations__) == tuple(SETTINGS)
    assert SettingOptions.__optional_keys__ == SETTINGS.keys()
    scenario_fields = {field.name for field in fields(Scenario)} | {name for name in dir(Scenario) if name[0] != "_"}
    assert {setting.field for setting in SETTINGS.values()} <= scenario_fields
