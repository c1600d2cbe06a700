"""Tables of keys, from the msgspec types of files and documents."""

from __future__ import annotations

import ast
import inspect
import itertools
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import msgspec
from msgspec import inspect as schema

from docs.site.words import build_anchor, escape_text, format_code, format_table
from planner.hardware.figures import SourcedFigure

Struct = type[msgspec.Struct]
_REQUIRED = "required"
StructLocations = dict[Struct, str]
"""The page and anchor of each struct's description."""


@dataclass(frozen=True)
class PageView:
    """A page with tables of keys. `nulls`: whether it marks what may be null; in a file such a key is left out."""

    places: StructLocations
    page: str
    nulls: bool = False


def collect_structs(root: Struct) -> dict[Struct, str]:
    """A struct and the structs within it, each with the first path of keys to it, in the order of the keys."""
    paths: dict[Struct, str] = {root: ""}
    queue = [root]
    while queue:
        outer = queue.pop(0)
        for field in _list_fields(outer):
            for inner in _find_structs(_strip_metadata(field.type)):
                if inner not in paths:
                    paths[inner] = ".".join(part for part in (paths[outer], field.encode_name) if part)
                    queue.append(inner)
    return paths


def format_key_table(struct: Struct, view: PageView) -> str:
    """The table of a struct's keys; structs within it are links. Empty columns are left out."""
    field_notes = _read_notes(struct)
    rows = [
        (
            format_code(field.encode_name),
            _describe_type(_strip_metadata(field.type), view),
            _describe_default(field),
            escape_text(" ".join(filter(None, (_describe_figure(field), field_notes.get(field.name))))),
        )
        for field in _list_fields(struct)
    ]
    if not rows:
        return ""
    columns = [0, 1] + [n for n in (2, 3) if any(row[n] not in ("", _REQUIRED if n == 2 else "") for row in rows)]
    headings = ("key", "value", "default", "meaning")
    return format_table([headings[n] for n in columns], [[row[n] for n in columns] for row in rows])


def format_docstring(struct: Struct) -> str:
    """The docstring of a struct, in paragraphs."""
    return "\n\n".join(map(escape_text, inspect.cleandoc(struct.__doc__ or "").split("\n\n")))


def build_location(page: str, heading: str) -> str:
    """The page and anchor of a description."""
    return f"{page}#{build_anchor(heading)}"


def _list_fields(struct: Struct) -> tuple[schema.Field, ...]:
    info = schema.type_info(struct)
    assert isinstance(info, schema.StructType)
    return info.fields


def _strip_metadata(value_type: schema.Type) -> schema.Type:
    return value_type.type if isinstance(value_type, schema.Metadata) else value_type


def _describe_figure(field: schema.Field) -> str:
    """The description that a field declares for its figure, as a sentence."""
    declared = field.type.extra_json_schema if isinstance(field.type, schema.Metadata) else None
    text = (declared or {}).get("description", "")
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _find_structs(value_type: schema.Type) -> Iterator[Struct]:
    if isinstance(value_type, schema.StructType):
        yield value_type.cls
    elif isinstance(value_type, schema.UnionType):
        for member in value_type.types:
            yield from _find_structs(member)
    elif isinstance(value_type, schema.DictType):
        yield from _find_structs(value_type.value_type)
    elif isinstance(value_type, schema.CollectionType | schema.VarTupleType):
        yield from _find_structs(value_type.item_type)
    elif isinstance(value_type, schema.TupleType):
        for member in value_type.item_types:
            yield from _find_structs(member)


def _describe_type(value_type: schema.Type, view: PageView) -> str:
    """The type of a key's value, in words."""
    match value_type:
        case schema.StructType():
            location = view.places.get(value_type.cls, "")
            page, _, anchor = location.partition("#")
            shown = format_code(value_type.cls.__name__) if view.nulls else "a table"
            return f"[{shown}]({'' if page == view.page else page}#{anchor})" if location else shown
        case schema.LiteralType():
            return " or ".join(
                format_code(f'"{value}"' if isinstance(value, str) else str(value)) for value in value_type.values
            )
        case schema.UnionType():
            return _describe_union(value_type, view)
        case schema.DictType():
            return f"by name: {_describe_type(value_type.value_type, view)}"
        case schema.TupleType():
            return f"[{', '.join(_describe_type(member, view) for member in value_type.item_types)}]".replace(
                "[", "\\[", 1
            )
        case schema.CollectionType() | schema.VarTupleType():
            return f"a list: {_describe_type(value_type.item_type, view)}"
        case schema.IntType():
            return "a whole number" + _describe_bounds(value_type)
        case schema.FloatType():
            return "a number" + _describe_bounds(value_type)
        case schema.BoolType():
            return "`true` or `false`"
        case schema.StrType():
            return "a text"
    return "any"


def _describe_union(value_type: schema.UnionType, view: PageView) -> str:
    members = [member for member in value_type.types if not isinstance(member, schema.NoneType)]
    if any(isinstance(member, schema.StructType) and member.cls is SourcedFigure for member in members):
        return "a figure"
    descriptions = dict.fromkeys(_describe_type(member, view) for member in members)
    words = [text for text in descriptions if text != "a whole number" or "a number" not in descriptions]
    return " or ".join([*words, "`null`"] if view.nulls and len(members) < len(value_type.types) else words)


def _describe_bounds(value_type: schema.IntType | schema.FloatType) -> str:
    words_by_bound = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}
    bounds = [
        words.format(f"{getattr(value_type, name):,}")
        for name, words in words_by_bound.items()
        if getattr(value_type, name) is not None
    ]
    return " " + " ".join(bounds) if bounds else ""


def _describe_default(field: schema.Field) -> str:
    if field.required:
        return _REQUIRED
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
        return "" if not value or isinstance(value, msgspec.Struct) else format_code(str(value))
    if field.default in (None, "", ()) or isinstance(field.default, msgspec.Struct):
        return ""
    return format_code(str(field.default).lower() if isinstance(field.default, bool) else f"{field.default}")


@cache
def _read_notes(struct: Struct) -> dict[str, str]:
    """The docstrings of the fields in the source, by name; those of base classes too."""
    field_notes: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if base.__module__ in sys.modules and base.__module__.startswith("planner"):
            tree = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
            assert isinstance(tree, ast.ClassDef)
            field_notes |= collect_notes(tree.body)
    return field_notes


def collect_notes(body: list[ast.stmt]) -> dict[str, str]:
    """The docstrings below names in a class or a module, by name."""
    docstrings = {}
    for statement, following in itertools.pairwise(body):
        target = (
            statement.target
            if isinstance(statement, ast.AnnAssign)
            else statement.targets[0]
            if isinstance(statement, ast.Assign)
            else None
        )
        if (
            isinstance(target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            docstrings[target.id] = str(following.value.value)
    return docstrings
