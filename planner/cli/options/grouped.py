"""Groups of options: a command takes dataclasses of options, whose fields typer sees as single parameters.

So options that several commands share are declared once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import TypeVar, get_type_hints

CommandFunction = Callable[..., None]
Group = TypeVar("Group")


def expand_option_groups(command: CommandFunction) -> CommandFunction:
    """The command for typer: a parameter whose type is a dataclass is replaced by its fields, in their order.

    A field's annotation and default are those of the option. Option names must be distinct.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint)}
    parameters = list(_flatten_parameters(inspect.signature(command), hints, groups))
    names = [parameter.name for parameter in parameters]
    assert len(set(names)) == len(names), f"two options of {command.__name__} have one name"

    @wraps(command)
    def run_flat_command(**arguments: object) -> None:
        built_groups = {name: build_option_group(group, arguments) for name, group in groups.items()}
        grouped_names = {field.name for group in groups.values() for field in fields(group)}
        command(**{name: value for name, value in arguments.items() if name not in grouped_names}, **built_groups)

    run_flat_command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run_flat_command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {
        "return": None
    }
    return run_flat_command


def build_option_group(group: type[Group], arguments: Mapping[str, object]) -> Group:
    """A group of options from all arguments of a command."""
    return group(**{field.name: arguments[field.name] for field in fields(group)})  # type: ignore[arg-type]


def _flatten_parameters(
    signature: inspect.Signature, hints: dict[str, object], groups: dict[str, type]
) -> Iterator[inspect.Parameter]:
    """The parameters with groups expanded; keyword-only, so that required parameters may follow others."""
    by_name = inspect.Parameter.KEYWORD_ONLY
    for name, parameter in signature.parameters.items():
        if name not in groups:
            yield parameter.replace(kind=by_name, annotation=hints[name])
            continue
        field_hints = get_type_hints(groups[name], include_extras=True)
        for field in fields(groups[name]):
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            yield inspect.Parameter(field.name, by_name, default=default, annotation=field_hints[field.name])
