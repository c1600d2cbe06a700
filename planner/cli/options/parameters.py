"""The parameters of commands for typer, made from the table of options, and the panels of `--help`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, get_type_hints

import typer

from planner.request.options import Option, list_options

OptionValues = Mapping[str, object]
"""The values of a command's options by their names, as typer passes them; None: not given."""
CommandFunction = Callable[..., None]


def take_options(command: str) -> Callable[[CommandFunction], CommandFunction]:
    """Decorator: typer sees the table's options, then the function's own; the former are passed as `values`."""

    def add_parameters(function: CommandFunction) -> CommandFunction:
        options = list_options(command)
        own_hints = get_type_hints(function, include_extras=True)
        parameters = [build_parameter(option) for option in options]
        for name, parameter in inspect.signature(function).parameters.items():
            if name != "values":
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=own_hints[name]))

        @wraps(function)
        def run(**arguments: object) -> None:
            values = {option.name: arguments.pop(option.name) for option in options}
            function(values, **arguments)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": None}
        return run

    return add_parameters


def build_parameter(option: Option) -> inspect.Parameter:
    """An option as a parameter for typer. Values stay texts, which the table's parsers read."""
    value_type: object = Path if option.is_path and not option.in_answer else str
    if option.is_switch:
        value_type = bool
    if option.is_repeatable:
        value_type = list[value_type]  # type: ignore[valid-type]
    if option.is_argument:
        info = typer.Argument(metavar=option.metavar, help=option.help, rich_help_panel=option.group)
    else:
        info = typer.Option(
            *(option.flags or (option.key,)),
            metavar=None
            if option.is_switch
            else option.metavar or "|".join(option.choices) or ("FILE" if option.is_path else "TEXT"),
            help=_format_help(option),
            rich_help_panel=option.group,
            show_default=False,
        )
    default = inspect.Parameter.empty if option.is_required else None
    annotation = Annotated[value_type if option.is_required else value_type | None, info]  # type: ignore[valid-type, operator]
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _format_help(option: Option) -> str:
    return f"{option.help} Default: {option.default}." if isinstance(option.default, str) else option.help
