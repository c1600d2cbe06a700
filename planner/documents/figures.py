"""Figures of documents: a field declares the unit, description and heading of its figure once, in its annotation.

Conditions (`--require`), differences of plans, columns of CSV, headings and the JSON Schema take them from there. A
figure that follows from fields is a property of its part, declared the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from planner.units import DAY_S, format_bytes, format_count, format_energy, format_mass, format_seconds, format_si

FigureUnit = Literal["bytes", "s", "days", "usd", "j", "kg", "w", "per_s", "ratio", "count", "text", "truth"]
FigurePrerequisite = Literal["tokens", "price", "power", "grid", "failures", "uncertainty"]
FigureValue = float | str | bool | None
FigureValues = Mapping[str, FigureValue]
RecordValue = str | int | float | bool | None | Sequence[str]
"""A value in CSV or JSON Lines; numbers are in SI units, which the key names."""

_MIN_SHORTENED_COUNT = 1e6
"""From this count on, three digits and a suffix are printed: 100B tokens."""


@dataclass(frozen=True)
class PlanFigure:
    """A figure of a document.

    `label`: its heading in tables; `prerequisites`: what it needs to be known; `choices`: the texts it can have;
    `column`: its key in CSV and JSON Lines; `path`: the fields that lead to it.
    """

    name: str
    unit: FigureUnit
    description: str
    label: str = ""
    prerequisites: tuple[FigurePrerequisite, ...] = ()
    choices: tuple[str, ...] = ()
    column: str = ""
    path: tuple[str, ...] = ()

    def read_value(self, document: msgspec.Struct) -> FigureValue:
        """The value in SI units; None where it, or a part that it stands in, is null."""
        value: Any = document
        for key in self.path:
            if value is None:
                return None
            value = value.get(key) if isinstance(value, dict) else getattr(value, key)
        if self.unit == "text":
            return ("+".join(value) or "none") if isinstance(value, list) else "all" if value is None else str(value)
        known: FigureValue = value * DAY_S if self.unit == "days" and value is not None else value
        return known


@dataclass(frozen=True)
class _FigureDeclaration:
    """What a field declares: the figure without its path, and the keys of a mapping of figures."""

    figure: PlanFigure
    keys: tuple[str, ...]


def declare_figure(
    unit: FigureUnit,
    description: str,
    *,
    name: str = "",
    label: str = "",
    needs: tuple[FigurePrerequisite, ...] = (),
    choices: tuple[str, ...] = (),
    column: str = "",
    keys: tuple[str, ...] = (),
) -> msgspec.Meta:
    """The annotation of a field that is a figure of the plan; `name` and `column` are by default those of the field.

    A mapping declares one figure for each of its `keys`; `{}` in description and column stands for the key.
    """
    figure = PlanFigure(name, unit, description, label, needs, choices, column)
    return msgspec.Meta(
        description=description.format("each term"),
        extra={"figure": _FigureDeclaration(figure, keys), "column": column},
    )


def declare_columns(column: str) -> msgspec.Meta:
    """The annotation of a part whose fields stand in a record of CSV, with `{}` for the name of the field."""
    return msgspec.Meta(extra={"column": column})


@cache
def collect_figures(part: type[msgspec.Struct]) -> Mapping[str, PlanFigure]:
    """All figures of a document by name, in the order of its fields."""
    return {figure.name: figure for figure in _iterate_figures(part, (), "{}")}


def read_figure_values(document: msgspec.Struct) -> dict[str, FigureValue]:
    """The values of all figures of a document by name, in SI units; None where a figure is not known."""
    return {name: figure.read_value(document) for name, figure in collect_figures(type(document)).items()}


def _iterate_figures(part: type[msgspec.Struct], path: tuple[str, ...], column: str) -> Iterator[PlanFigure]:
    """The figures of a part and of the parts in it, except those in lists."""
    prefix = getattr(part, "FIGURE_PREFIX", "")
    keys = dict(zip(part.__struct_fields__, part.__struct_encode_fields__, strict=True))
    for field, hint in _get_field_types(part).items():
        declaration, inner = _get_extra(hint, "figure"), _find_struct(hint)
        if isinstance(declaration, _FigureDeclaration):
            yield from _name_figures(declaration, keys.get(field, field), prefix, hint, (*path, field), column)
        elif inner is not None:
            yield from _iterate_figures(inner, (*path, field), _get_extra(hint, "column") or column)


def _name_figures(
    declaration: _FigureDeclaration, field: str, prefix: str, hint: object, path: tuple[str, ...], column: str
) -> Iterator[PlanFigure]:
    figure = declaration.figure
    for key in declaration.keys:
        words = key.replace("_", " ")
        yield replace(
            figure,
            name=f"{field}.{key}",
            description=figure.description.format(words),
            label=words,
            column=figure.column.format(key),
            path=(*path, key),
        )
    if not declaration.keys:
        key = figure.name or field.removesuffix("_bytes")
        yield replace(
            figure,
            name=f"{prefix}{key}",
            label=figure.label or key.removesuffix(f"_{figure.unit}").replace("_", " "),
            choices=figure.choices or _list_text_choices(hint),
            column=figure.column or column.format(figure.name or field),
            path=path,
        )


@cache
def _get_field_types(part: type[msgspec.Struct]) -> dict[str, Any]:
    """The annotated types of the fields of a part, then of its properties."""
    hints = get_type_hints(part, include_extras=True)
    properties = {name: value.fget for name, value in vars(part).items() if isinstance(value, property)}
    return {name: hints[name] for name in part.__struct_fields__} | {
        name: get_type_hints(getter, include_extras=True)["return"] for name, getter in properties.items()
    }


def _get_extra(hint: object, key: str) -> Any:
    """What the annotation of a type declares under `key`; None where it declares nothing."""
    extras = (meta.extra or {} for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, msgspec.Meta))
    return next((extra[key] for extra in extras if key in extra), None)


def _list_type_options(hint: object) -> tuple[Any, ...]:
    """The members of a union, else the type itself; without annotations."""
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return get_args(bare) if get_origin(bare) in (Union, UnionType) else (bare,)


def _find_struct(hint: object) -> type[msgspec.Struct] | None:
    options = _list_type_options(hint)
    return next((item for item in options if isinstance(item, type) and issubclass(item, msgspec.Struct)), None)


def _list_text_choices(hint: object) -> tuple[str, ...]:
    (option, *_) = _list_type_options(hint)
    return tuple(item for item in get_args(option) if isinstance(item, str)) if get_origin(option) is Literal else ()


def flatten_part(part: msgspec.Struct) -> dict[str, RecordValue]:
    """A part as one record of CSV or JSON Lines; parts and mappings in it without declared columns, lists of numbers
    and what is absent are left out.
    """
    record: dict[str, RecordValue] = {}
    field_types = _get_field_types(type(part))
    for field, key in zip(part.__struct_fields__, part.__struct_encode_fields__, strict=True):
        value, column = getattr(part, field), _get_extra(field_types[field], "column")
        if isinstance(value, msgspec.Struct | dict):
            inner = value if isinstance(value, dict) else flatten_part(value)
            record |= {column.format(name): item for name, item in inner.items()} if column else {}
        elif isinstance(value, list):
            record |= {key: value} if all(isinstance(item, str) for item in value) else {}
        elif value is not msgspec.UNSET:
            record[key] = value
    return record


def format_figure_value(value: FigureValue, unit: FigureUnit) -> str:
    """`74.51 GiB`, `9.04 s`, `1,234,567 USD`, `45.12 %`, `76.2K`, `yes`."""
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return "".join(character for character in value if character.isprintable())
    if value < 0:
        return f"-{format_figure_value(-value, unit)}"
    match unit:
        case "bytes":
            return format_bytes(value)
        case "s":
            return format_seconds(value)
        case "days":
            return f"{value / DAY_S:,.1f} days"
        case "usd":
            return f"{value:,.0f} USD" if value >= 1000 else f"{value:.4g} USD"
        case "j":
            return format_energy(value)
        case "w":
            return format_si(value, "W")
        case "kg":
            return format_mass(value)
        case "ratio":
            return f"{100 * value:.4g} %"
    if unit == "per_s" or value >= _MIN_SHORTENED_COUNT:
        return format_count(value)
    is_exact = float(value).is_integer()
    return f"{value:,.0f}" if is_exact or value >= 1e4 else f"{value:.4g}"
