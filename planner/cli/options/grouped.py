"""Options in groups: a command takes dataclasses of them, typer sees their fields one by one.

What several commands share is said once, and handed on whole.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import TypeVar, get_type_hints

Command = Callable[..., None]
Group = TypeVar("Group")


def grouped(command: Command) -> Command:
    """The command as typer reads it: a parameter whose type is a dataclass stands for its fields, in their order.

    A field's annotation and default are those of the option. No two of them may have the same name.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint)}
    parameters = list(_flat(inspect.signature(command), hints, groups))
    names = [one.name for one in parameters]
    assert len(set(names)) == len(names), f"two options of {command.__name__} have one name"

    @wraps(command)
    def flat(**given: object) -> None:
        told = {name: gathered(group, given) for name, group in groups.items()}
        spread = {field.name for group in groups.values() for field in fields(group)}
        command(**{name: value for name, value in given.items() if name not in spread}, **told)

    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": None}
    return flat


def gathered(group: type[Group], given: Mapping[str, object]) -> Group:
    """A group of options out of all that a command was given."""
    return group(**{field.name: given[field.name] for field in fields(group)})  # type: ignore[arg-type]


def _flat(
    signature: inspect.Signature, hints: dict[str, object], groups: dict[str, type]
) -> Iterator[inspect.Parameter]:
    """The parameters, groups spread out; all by name, so that required ones may follow others."""
    by_name = inspect.Parameter.KEYWORD_ONLY
    for name, parameter in signature.parameters.items():
        if name not in groups:
            yield parameter.replace(kind=by_name, annotation=hints[name])
            continue
        own = get_type_hints(groups[name], include_extras=True)
        for field in fields(groups[name]):
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            yield inspect.Parameter(field.name, by_name, default=default, annotation=own[field.name])
