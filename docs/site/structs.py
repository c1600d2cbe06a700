"""Tables of keys, made from the msgspec types that files and documents are read into and written from."""

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
from msgspec import inspect as kinds

from docs.site.words import anchor, code, said, table
from planner.hardware.figures import SourcedFigure

Struct = type[msgspec.Struct]
_NEEDED = "needed"
Places = dict[Struct, str]
"""Where each struct is described: a page and an anchor."""


@dataclass(frozen=True)
class View:
    """A page on which keys are told. `nulls`: whether it says what may be null; in a file such a key is left out."""

    places: Places
    page: str
    nulls: bool = False


def reached(root: Struct) -> dict[Struct, str]:
    """A struct and those within it, each with the first path of keys that leads to it, in the order of the keys."""
    found: dict[Struct, str] = {root: ""}
    queue = [root]
    while queue:
        outer = queue.pop(0)
        for field in _fields(outer):
            for inner in _structs(field.type):
                if inner not in found:
                    found[inner] = ".".join(part for part in (found[outer], field.encode_name) if part)
                    queue.append(inner)
    return found


def keys(struct: Struct, view: View) -> str:
    """The table of a struct's keys; structs within it are links. Columns without anything to tell are left out."""
    told = _notes(struct)
    rows = [
        (code(field.encode_name), _type(field.type, view), _default(field), said(told.get(field.name, "")))
        for field in _fields(struct)
    ]
    if not rows:
        return ""
    kept = [0, 1] + [n for n in (2, 3) if any(row[n] not in ("", _NEEDED if n == 2 else "") for row in rows)]
    headings = ("key", "value", "where left out", "what it is")
    return table([headings[n] for n in kept], [[row[n] for n in kept] for row in rows])


def about(struct: Struct) -> str:
    """What a struct's docstring says, in paragraphs."""
    return "\n\n".join(said(one) for one in inspect.cleandoc(struct.__doc__ or "").split("\n\n"))


def place(page: str, heading: str) -> str:
    """Where a struct is described."""
    return f"{page}#{anchor(heading)}"


def _fields(struct: Struct) -> tuple[kinds.Field, ...]:
    info = kinds.type_info(struct)
    assert isinstance(info, kinds.StructType)
    return info.fields


def _structs(found: kinds.Type) -> Iterator[Struct]:
    if isinstance(found, kinds.StructType):
        yield found.cls
    elif isinstance(found, kinds.UnionType):
        for one in found.types:
            yield from _structs(one)
    elif isinstance(found, kinds.DictType):
        yield from _structs(found.value_type)
    elif isinstance(found, kinds.CollectionType | kinds.VarTupleType):
        yield from _structs(found.item_type)
    elif isinstance(found, kinds.TupleType):
        for one in found.item_types:
            yield from _structs(one)


def _type(found: kinds.Type, view: View) -> str:
    """What kind of value a key has."""
    match found:
        case kinds.StructType():
            where = view.places.get(found.cls, "")
            page, _, at = where.partition("#")
            shown = code(found.cls.__name__) if view.nulls else "a table"
            return f"[{shown}]({'' if page == view.page else page}#{at})" if where else shown
        case kinds.LiteralType():
            return " or ".join(code(f'"{one}"' if isinstance(one, str) else str(one)) for one in found.values)
        case kinds.UnionType():
            return _choice(found, view)
        case kinds.DictType():
            return f"by name: {_type(found.value_type, view)}"
        case kinds.TupleType():
            return f"[{', '.join(_type(one, view) for one in found.item_types)}]".replace("[", "\\[", 1)
        case kinds.CollectionType() | kinds.VarTupleType():
            return f"a list: {_type(found.item_type, view)}"
        case kinds.IntType():
            return "a whole number" + _bounds(found)
        case kinds.FloatType():
            return "a number" + _bounds(found)
        case kinds.BoolType():
            return "`true` or `false`"
        case kinds.StrType():
            return "a text"
    return "any"


def _choice(found: kinds.UnionType, view: View) -> str:
    some = [one for one in found.types if not isinstance(one, kinds.NoneType)]
    if any(isinstance(one, kinds.StructType) and one.cls is SourcedFigure for one in some):
        return "a figure"
    shown = dict.fromkeys(_type(one, view) for one in some)
    words = [one for one in shown if one != "a whole number" or "a number" not in shown]
    return " or ".join([*words, "`null`"] if view.nulls and len(some) < len(found.types) else words)


def _bounds(found: kinds.IntType | kinds.FloatType) -> str:
    said_of = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}
    told = [
        words.format(f"{getattr(found, name):,}")
        for name, words in said_of.items()
        if getattr(found, name) is not None
    ]
    return " " + " ".join(told) if told else ""


def _default(field: kinds.Field) -> str:
    if field.required:
        return _NEEDED
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
        return "" if not value or isinstance(value, msgspec.Struct) else code(str(value))
    if field.default in (None, "", ()) or isinstance(field.default, msgspec.Struct):
        return ""
    return code(str(field.default).lower() if isinstance(field.default, bool) else f"{field.default}")


@cache
def _notes(struct: Struct) -> dict[str, str]:
    """The texts below the fields in the source, by name; those of its bases too."""
    told: dict[str, str] = {}
    for one in reversed(struct.__mro__):
        if one.__module__ in sys.modules and one.__module__.startswith("planner"):
            tree = ast.parse(textwrap.dedent(inspect.getsource(one))).body[0]
            assert isinstance(tree, ast.ClassDef)
            told |= notes(tree.body)
    return told


def notes(body: list[ast.stmt]) -> dict[str, str]:
    """The texts that stand below names in a class or a module, by name."""
    told = {}
    for named, after in itertools.pairwise(body):
        target = (
            named.target
            if isinstance(named, ast.AnnAssign)
            else named.targets[0]
            if isinstance(named, ast.Assign)
            else None
        )
        if isinstance(target, ast.Name) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            told[target.id] = str(after.value.value)
    return told
