"""Text of a TOML, YAML or JSON file into a typed value, with errors that a person can act on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from planner.errors import InputError, nearest

if TYPE_CHECKING:
    import yaml

Format = Literal["toml", "yaml", "json"]
T = TypeVar("T")

MISSING = "is missing"
_LONGEST: dict[Format, int] = {"toml": 2_000_000, "yaml": 500_000, "json": 10_000_000}
"""Characters. Nothing that describes a model or a cluster is larger, and to parse so much takes a second or two."""
_DEEPEST = 50
_LONGEST_NUMBER = 400
_LONG_NUMBER = re.compile(rf"[-+.0-9].{{{_LONGEST_NUMBER}}}", re.DOTALL)
_DOTS = re.compile(rf"(?:\.[^.,={{}}\n]+){{{_DEEPEST}}}")
_QUOTED = re.compile(r"""'[^'\n]*'|"(?:[^"\\\n]|\\.)*"|#.*""")
_STEERING = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ufeff\\ud800-\\udfff]"
)
"""Control characters, line ends, and signs that turn the direction of text around: names go to terminals."""
_LINES = frozenset({"note", "notes", "obstacle", "told"})
"""Keys whose texts may have several lines."""
_PATH = re.compile(r" - at `\$\.?(.*)`$", re.DOTALL)
_KEY_PATH = re.compile(r" - at `key` in `\$\.?(.*)`$", re.DOTALL)
_ENUM = re.compile(r"Invalid enum value '?(.*?)'?$", re.DOTALL)
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
_EXPECTED = re.compile(r"Expected `([^`]*)`(?: ([<>]=?) ([0-9.]+))?(?:, got `([^`]*)`)?$")
_MISSING = re.compile(r"Object missing required field `(.*?)`", re.DOTALL)
_LENGTH = re.compile(r"Expected `(?:array|object)` of length (?:([<>]=) )?([0-9]+)")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`", re.DOTALL)


def decode(text: str, file_format: Format, into: type[T], origin: str) -> T:
    """Parse `text` and validate it as `into` (a msgspec Struct). Raises InputError naming origin and key."""
    return converted(parse(text, file_format, origin), into, origin)


def converted(raw: object, into: type[T], origin: str, at: str = "") -> T:
    """A parsed value validated as `into`; `at`: the key under which it stands. Raises InputError as `decode` does."""
    try:
        found = msgspec.convert(raw, into, strict=True)
    except msgspec.ValidationError as error:
        told = _explained(error, raw, into, origin)
        raise told.elsewhere(origin, ".".join(part for part in (at, told.key) if part)) if at else told from None
    _check_signs(raw, origin, at)
    return found


def _check_signs(raw: object, origin: str, at: str, key: str = "") -> None:
    """Raises InputError for a text, or a key, with signs that would steer a terminal."""
    if isinstance(raw, dict):
        for name, value in raw.items():
            _check_text(name, origin, at)
            _check_signs(value, origin, f"{at}.{name}" if at else name, name)
    elif isinstance(raw, list):
        for index, value in enumerate(raw):
            _check_signs(value, origin, f"{at}[{index}]", key)
    elif isinstance(raw, str):
        _check_text(raw.replace("\n", " ") if key in _LINES else raw, origin, at)


def _check_text(text: str, origin: str, key: str) -> None:
    if _STEERING.search(text):
        expected = "text on one line, without control characters"
        raise InputError("holds a control character", origin=origin, key=key, value=text, expected=expected)


def parse(text: str, file_format: Format, origin: str) -> dict[str, object]:
    """Parse `text` into a mapping without validating its keys. Raises InputError."""
    if len(text) > _LONGEST[file_format]:
        expected = f"at most {_LONGEST[file_format]:,} characters of {file_format.upper()}"
        raise InputError("file is too long", origin=origin, expected=expected)
    raw: object
    try:
        raw = _load(text, file_format) if text.strip() else None
    except RecursionError:
        raise InputError("nested too deeply", origin=origin, expected="a plain description") from None
    except InputError as error:
        raise InputError(error.problem, origin=origin, expected=error.expected) from None
    except ValueError as error:  # tomllib's and json's errors are ValueErrors
        raise InputError(
            f"not valid {file_format.upper()}: {_first_line(error)}",
            origin=origin,
            expected=f"a complete {file_format.upper()} document",
        ) from None
    if raw is None or raw == {}:
        raise InputError("is empty", origin=origin, expected="a table of keys and values")
    if not isinstance(raw, dict):
        raise InputError(
            f"holds a {type(raw).__name__}", origin=origin, expected="a table of keys and values at the top"
        )
    return raw


def _load(text: str, file_format: Format) -> object:
    if file_format == "toml":
        return _load_toml(text)
    if file_format == "json":
        return msgspec.json.decode(text)
    return _load_yaml(text)


def _load_toml(text: str) -> object:
    import tomllib

    # tomllib keeps every beginning of a dotted key: one of many thousand parts would take all memory
    for line in text.split("\n"):
        if line.count(".") >= _DEEPEST and _DOTS.search(_QUOTED.sub('"', line)):
            raise InputError("a key has too many parts", expected=f"keys of fewer than {_DEEPEST} parts")
    return tomllib.loads(text)


def _load_yaml(text: str) -> object:
    import yaml

    # both are in the same package; the one in C is ten times as fast where it was built
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_yaml(yaml.parse(text, Loader=loader))
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise ValueError(_first_line(error)) from None


def _check_yaml(events: Iterable[yaml.Event]) -> None:
    """Raises InputError for what makes a small file large or slow, none of which a description needs."""
    import yaml

    depth = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            raise InputError("YAML aliases are not read", expected="every value written out")
        if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None) is not None:
            raise InputError("YAML tags are not read", expected="plain texts, numbers, lists and tables")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and event.implicit[0] and _LONG_NUMBER.match(event.value):
            raise InputError("a number is too long", expected=f"at most {_LONGEST_NUMBER} digits")
        if depth > _DEEPEST:
            raise InputError("nested too deeply", expected=f"at most {_DEEPEST} levels")


def _explained(error: msgspec.ValidationError, raw: object, into: type[object], origin: str) -> InputError:
    """The msgspec error with the key's path, its value, what was expected, and the nearest valid name."""
    message = str(error)
    inside = _KEY_PATH.search(message)
    at = inside or _PATH.search(message)
    path = at[1] if at else ""
    told = message[: at.start()] if at else message
    unknown = _UNKNOWN.match(told)
    if unknown is not None:
        known = _fields_at(into, path)
        key = f"{path}.{unknown[1]}" if path else unknown[1]
        expected = f"one of {', '.join(sorted(known))}" if known else "a key of the file format"
        return InputError(
            "unknown key", origin=origin, key=key, expected=expected, suggestion=nearest(unknown[1], known)
        )
    choice = _ENUM.match(told)
    if choice is not None:
        known = _choices_at(into, path, of_key=inside is not None)
        expected = f"one of {', '.join(known)}" if known else "one of the names that are known"
        what = "unknown key" if inside else "unknown value"
        return InputError(
            what, origin=origin, key=path, value=choice[1], expected=expected, suggestion=nearest(choice[1], known)
        )
    missing = _MISSING.match(told)
    if missing is not None:
        key = f"{path}.{missing[1]}" if path else missing[1]
        return InputError(MISSING, origin=origin, key=key, expected=_kind_at(into, key))
    length = _LENGTH.match(told)
    if length is not None:
        problem, bound = {">=": ("too short", "at least "), "<=": ("too long", "at most ")}.get(
            length[1], ("wrong length", "")
        )
        return InputError(problem, origin=origin, key=path, expected=f"{bound}{int(length[2]):,} of them")
    value = _value_at(raw, path) if path else None
    wanted = _EXPECTED.match(told)
    if wanted is None:
        return InputError(f"{told[:1].lower()}{told[1:]}", origin=origin, key=path, value=value)
    names = [name for name in wanted[1].split(" | ") if name != "null"]
    expected = " or ".join(_TYPES.get(name, "a table") for name in names if name != "int" or "float" not in names)
    if wanted[2]:
        expected += f" of at {'least' if '>' in wanted[2] else 'most'} {float(wanted[3]):,.10g}"
    problem = "out of range" if wanted[2] else "wrong type"
    shown = f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else value
    if value is None and wanted[4]:
        shown = _TYPES.get(wanted[4], wanted[4])
    return InputError(problem, origin=origin, key=path, value=shown, expected=expected)


def _value_at(raw: object, path: str) -> object:
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(raw, dict) and part in raw:
            raw = raw[part]
        elif isinstance(raw, list) and part.isdigit() and int(part) < len(raw):
            raw = raw[int(part)]
        else:
            return None
    return None if isinstance(raw, dict | list) else raw


def _fields_at(into: object, path: str) -> list[str]:
    """The field names of the struct that `path` leads to inside `into`."""
    info = _struct_info(_unwrapped(_type_at(into, path)))
    return [field.encode_name for field in info.fields] if info is not None else []


def _choices_at(into: object, path: str, *, of_key: bool) -> list[str]:
    """The names that may stand at `path`, or as a key of the mapping there."""
    found = _type_at(into, path)
    if of_key and isinstance(found, msgspec.inspect.DictType):
        found = found.key_type
    types = found.types if isinstance(found, msgspec.inspect.UnionType) else (found,)
    return [str(value) for one in types if isinstance(one, msgspec.inspect.LiteralType) for value in one.values]


def _type_at(into: object, path: str) -> object:
    """The type that the key at the end of `path` has, None where the path leads out of the known ones."""
    for part in re.findall(r"\[\.\.\.\]|\[\d+\]|[^.\[\]]+", path):
        into = _unwrapped(into)
        if part.startswith("["):
            continue  # the item of a list or a mapping is what was unwrapped
        info = _struct_info(into)
        match = [field.type for field in info.fields if field.encode_name == part] if info is not None else []
        into = match[0] if match else None
    return into


def _kind_at(into: object, path: str) -> str:
    """What kind of value stands at `path`: a number, a text, a table, a list."""
    found = _type_at(into, path)
    types = found.types if isinstance(found, msgspec.inspect.UnionType) else (found,)
    kinds = [_TYPES[name] for name in (_type_name(one) for one in types) if name in _TYPES]
    return " or ".join(dict.fromkeys(kinds)) or "a value"


def _type_name(found: object) -> str:
    """The name by which msgspec's messages call a type."""
    if isinstance(found, msgspec.inspect.CollectionType | msgspec.inspect.VarTupleType | msgspec.inspect.TupleType):
        return "array"
    if isinstance(found, msgspec.inspect.StructType | msgspec.inspect.DictType):
        return "object"
    return type(found).__name__.removesuffix("Type").lower()


def _struct_info(into: object) -> msgspec.inspect.StructType | None:
    if isinstance(into, msgspec.inspect.StructType):
        return into
    if isinstance(into, type) and issubclass(into, msgspec.Struct):
        found = msgspec.inspect.type_info(into)
        return found if isinstance(found, msgspec.inspect.StructType) else None
    return None


def _unwrapped(into: object) -> object:
    """The struct inside an optional, a union or a collection."""
    if isinstance(into, msgspec.inspect.UnionType):
        structs = [one for one in map(_unwrapped, into.types) if _struct_info(one) is not None]
        return structs[0] if structs else None
    if isinstance(into, msgspec.inspect.CollectionType | msgspec.inspect.VarTupleType):
        return _unwrapped(into.item_type)
    if isinstance(into, msgspec.inspect.DictType):
        return _unwrapped(into.value_type)
    return into


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
