"""Parse TOML, YAML and JSON text into typed values, with errors that a user can act on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from planner.errors import InputError, find_nearest_name
from planner.units import format_counted_noun

if TYPE_CHECKING:
    import yaml

FileFormat = Literal["toml", "yaml", "json"]
T = TypeVar("T")

MISSING_KEY_PROBLEM = "is missing"
_MAX_FILE_LENGTH: dict[FileFormat, int] = {"toml": 2_000_000, "yaml": 500_000, "json": 10_000_000}
"""Characters. No description of a model or a cluster is longer; parsing this much takes a second or two."""
_MAX_DEPTH = 50
_MAX_NUMBER_LENGTH = 400
_LONG_NUMBER_PATTERN = re.compile(rf"[-+.0-9].{{{_MAX_NUMBER_LENGTH}}}", re.DOTALL)
_DEEP_KEY_PATTERN = re.compile(rf"(?:\.[^.,={{}}\n]+){{{_MAX_DEPTH}}}")
_NON_FINITE_PATTERN = re.compile(r"[:,\[]\s*(-?Infinity|NaN)\b")
_QUOTED_PATTERN = re.compile(r"""'[^'\n]*'|"(?:[^"\\\n]|\\.)*"|#.*""")
_CONTROL_CHARACTER_PATTERN = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ufeff\\ud800-\\udfff]"
)
"""Control characters, line ends, and characters that reverse the direction of text: names go to terminals."""
_MULTILINE_KEYS = frozenset({"note", "notes", "obstacle", "told"})
"""Keys whose texts may have several lines."""
_PATH_PATTERN = re.compile(r" - at `\$\.?(.*)`$", re.DOTALL)
_KEY_PATH_PATTERN = re.compile(r" - at `key` in `\$\.?(.*)`$", re.DOTALL)
_TYPE_DESCRIPTIONS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}


def decode_text(text: str, file_format: FileFormat, target_type: type[T], origin: str) -> T:
    """Parse `text` and validate it as `target_type` (a msgspec Struct). Raises InputError naming origin and key."""
    return convert_to_type(parse_mapping(text, file_format, origin), target_type, origin)


def convert_to_type(raw: object, target_type: type[T], origin: str, parent_key: str = "") -> T:
    """Validate a parsed value as `target_type`; `parent_key`: the key under which it stands. Raises InputError as
    `decode_text` does.
    """
    try:
        decoded = msgspec.convert(raw, target_type, strict=True)
    except msgspec.ValidationError as error:
        input_error = _build_validation_error(error, raw, target_type, origin)
        raise input_error.relocate(origin, ".".join(filter(None, (parent_key, input_error.key)))) from None
    _check_characters(raw, origin, parent_key)
    return decoded


def _check_characters(raw: object, origin: str, path: str, last_key: str = "") -> None:
    """Raise InputError for a text or a key with control characters."""
    if isinstance(raw, dict):
        for name, value in raw.items():
            _check_text_characters(name, origin, path)
            _check_characters(value, origin, f"{path}.{name}" if path else name, name)
    elif isinstance(raw, list):
        for index, value in enumerate(raw):
            _check_characters(value, origin, f"{path}[{index}]", last_key)
    elif isinstance(raw, str):
        _check_text_characters(raw.replace("\n", " ") if last_key in _MULTILINE_KEYS else raw, origin, path)


def _check_text_characters(text: str, origin: str, key: str) -> None:
    if _CONTROL_CHARACTER_PATTERN.search(text):
        expected = "text on one line, without control characters"
        raise InputError("contains a control character", origin=origin, key=key, value=text, expected=expected)


def parse_mapping(text: str, file_format: FileFormat, origin: str) -> dict[str, object]:
    """Parse `text` into a mapping; its keys are not validated. Raises InputError."""
    if len(text) > _MAX_FILE_LENGTH[file_format]:
        expected = f"at most {_MAX_FILE_LENGTH[file_format]:,} characters of {file_format.upper()}"
        raise InputError("file is too long", origin=origin, expected=expected)
    raw: object
    try:
        raw = _load_text(text, file_format) if text.strip() else None
    except RecursionError:
        raise InputError("nested too deeply", origin=origin, expected="fewer nested tables and lists") from None
    except InputError as error:
        raise error.relocate(origin) from None
    except ValueError as error:  # tomllib's and json's errors are ValueErrors
        problem = f"not valid {file_format.upper()}: {_format_error_line(error)}"
        raise InputError(problem, origin=origin, expected=f"a complete {file_format.upper()} document") from None
    if raw is None or raw == {}:
        raise InputError("is empty", origin=origin, expected="a table of keys and values")
    if not isinstance(raw, dict):
        type_name = "array" if isinstance(raw, list) else type(raw).__name__
        problem = f"is {_TYPE_DESCRIPTIONS.get(type_name, 'a single value')} at the top level"
        raise InputError(problem, origin=origin, expected="a table of keys and values")
    return raw


def _load_text(text: str, file_format: FileFormat) -> object:
    if file_format == "toml":
        return _load_toml(text)
    if file_format == "json":
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            if not _NON_FINITE_PATTERN.search(text):
                raise
        # Python's json writes infinite numbers, which JSON has not, so that published config.json files have them
        import json

        return json.loads(text)
    return _load_yaml(text)


def _load_toml(text: str) -> object:
    import tomllib

    # tomllib stores every prefix of a dotted key: a key of many thousand parts would exhaust the memory
    for line in text.split("\n"):
        if line.count(".") >= _MAX_DEPTH and _DEEP_KEY_PATTERN.search(_QUOTED_PATTERN.sub('"', line)):
            raise InputError("a key has too many parts", expected=f"keys of fewer than {_MAX_DEPTH} parts")
    return tomllib.loads(text)


def _load_yaml(text: str) -> object:
    import yaml

    # the loader in C is ten times as fast; PyYAML may have been built without it
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_yaml_events(yaml.parse(text, Loader=loader))
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise ValueError(_format_error_line(error)) from None


def _check_yaml_events(events: Iterable[yaml.Event]) -> None:
    """Raise InputError for YAML features that make a small file large or slow; no description needs them."""
    import yaml

    depth = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            raise InputError("YAML aliases are not supported", expected="every value written out")
        if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None) is not None:
            raise InputError("YAML tags are not supported", expected="plain texts, numbers, lists and tables")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and event.implicit[0] and _LONG_NUMBER_PATTERN.match(event.value):
            raise InputError("a number is too long", expected=f"at most {_MAX_NUMBER_LENGTH} digits")
        if depth > _MAX_DEPTH:
            raise InputError("nested too deeply", expected=f"at most {_MAX_DEPTH} levels")


@dataclass(frozen=True, slots=True)
class _ErrorPlace:
    """Where a value is invalid: the path of its key, and whether the key itself is meant."""

    path: str
    is_key: bool
    raw: object
    target_type: type[object]

    def append_key(self, name: str) -> str:
        """The path of a key of the table at this place."""
        return f"{self.path}.{name}" if self.path else name


def _build_validation_error(
    error: msgspec.ValidationError, raw: object, target_type: type[object], origin: str
) -> InputError:
    """The msgspec error as InputError: path of the key, value, what was expected, nearest valid name."""
    message = str(error)
    key_match = _KEY_PATH_PATTERN.search(message)
    path_match = key_match or _PATH_PATTERN.search(message)
    path, detail = (path_match[1], message[: path_match.start()]) if path_match else ("", message)
    place = _ErrorPlace(path, key_match is not None, raw, target_type)
    for pattern, build_error in _ERROR_BUILDERS.items():
        match = pattern.match(detail)
        if match is not None:
            return build_error(match, place).relocate(origin)
    value = _find_value_at(raw, path)
    return InputError(f"{detail[:1].lower()}{detail[1:]}", origin=origin, key=path, value=value)


def _build_unknown_key_error(match: re.Match[str], place: _ErrorPlace) -> InputError:
    known = _list_fields_at(place.target_type, place.path)
    expected = f"one of {', '.join(sorted(known))}" if known else "a key of the file format"
    suggestion = find_nearest_name(match[1], known)
    return InputError("unknown key", key=place.append_key(match[1]), expected=expected, suggestion=suggestion)


def _build_unknown_name_error(match: re.Match[str], place: _ErrorPlace) -> InputError:
    known = _list_choices_at(place.target_type, place.path, is_key=place.is_key)
    return InputError(
        "unknown key" if place.is_key else "unknown value",
        key=place.path,
        value=match[1],
        expected=f"one of {', '.join(known)}" if known else "a known name",
        suggestion=find_nearest_name(match[1], known),
    )


def _build_missing_key_error(match: re.Match[str], place: _ErrorPlace) -> InputError:
    key = place.append_key(match[1])
    return InputError(MISSING_KEY_PROBLEM, key=key, expected=_describe_type_at(place.target_type, key))


def _build_length_error(match: re.Match[str], place: _ErrorPlace) -> InputError:
    problems = {">=": ("too short", "at least "), "<=": ("too long", "at most ")}
    problem, bound = problems.get(match[1], ("wrong length", ""))
    return InputError(problem, key=place.path, expected=bound + format_counted_noun(int(match[2]), "item"))


def _build_type_error(match: re.Match[str], place: _ErrorPlace) -> InputError:
    """A value of another type, or out of its range."""
    names = [name for name in match[1].split(" | ") if name != "null"]
    names = [name for name in names if name != "int" or "float" not in names]
    expected = " or ".join(_TYPE_DESCRIPTIONS.get(name, "a table") for name in names)
    if match[2]:
        expected += f" of at {'least' if '>' in match[2] else 'most'} {float(match[3]):,.10g}"
    value = _find_value_at(place.raw, place.path)
    if isinstance(value, str):
        value = f'"{value}"'
    elif isinstance(value, bool):
        value = str(value).lower()
    elif value is None and match[4]:
        value = _TYPE_DESCRIPTIONS.get(match[4], match[4])
    return InputError("out of range" if match[2] else "wrong type", key=place.path, value=value, expected=expected)


_ERROR_BUILDERS: dict[re.Pattern[str], Callable[[re.Match[str], _ErrorPlace], InputError]] = {
    re.compile(r"Object contains unknown field `(.*?)`", re.DOTALL): _build_unknown_key_error,
    re.compile(r"Invalid enum value '?(.*?)'?$", re.DOTALL): _build_unknown_name_error,
    re.compile(r"Object missing required field `(.*?)`", re.DOTALL): _build_missing_key_error,
    re.compile(r"Expected `(?:array|object)` of length (?:([<>]=) )?([0-9]+)"): _build_length_error,
    re.compile(r"Expected `([^`]*)`(?: ([<>]=?) ([0-9.]+))?(?:, got `([^`]*)`)?$"): _build_type_error,
}
"""What msgspec's messages mean: the first pattern that matches counts."""


def _find_value_at(raw: object, path: str) -> object:
    """The value at `path`; None where there is no path, and for a table or a list."""
    if not path:
        return None
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(raw, dict) and part in raw:
            raw = raw[part]
        elif isinstance(raw, list) and part.isdigit() and int(part) < len(raw):
            raw = raw[int(part)]
        else:
            return None
    return None if isinstance(raw, dict | list) else raw


def _list_fields_at(target_type: object, path: str) -> list[str]:
    """The field names of the struct that `path` leads to inside `target_type`."""
    info = _find_struct_info(_unwrap_type(_find_type_at(target_type, path)))
    return [field.encode_name for field in info.fields] if info is not None else []


def _list_choices_at(target_type: object, path: str, *, is_key: bool) -> list[str]:
    """The names that are allowed as the value at `path`, or (`is_key`) as a key of the mapping there."""
    type_at_path = _strip_metadata(_find_type_at(target_type, path))
    if isinstance(type_at_path, msgspec.inspect.DictType):
        type_at_path = _strip_metadata(type_at_path.key_type if is_key else type_at_path.value_type)
    if isinstance(type_at_path, msgspec.inspect.CollectionType | msgspec.inspect.VarTupleType):
        type_at_path = _strip_metadata(type_at_path.item_type)
    types = type_at_path.types if isinstance(type_at_path, msgspec.inspect.UnionType) else (type_at_path,)
    return [
        str(value) for member in types if isinstance(member, msgspec.inspect.LiteralType) for value in member.values
    ]


def _find_type_at(target_type: object, path: str) -> object:
    """The type of the key at the end of `path`; None where `path` leads to no known key."""
    for part in re.findall(r"\[\.\.\.\]|\[\d+\]|[^.\[\]]+", path):
        target_type = _unwrap_type(target_type)
        if part.startswith("["):
            continue  # unwrapping a list or a mapping already gave the type of its items
        info = _find_struct_info(target_type)
        fields = info.fields if info is not None else ()
        target_type = next((field.type for field in fields if field.encode_name == part), None)
    return target_type


def _describe_type_at(target_type: object, path: str) -> str:
    """The expected type of the value at `path` in words: a number, a text, a table, a list."""
    type_at_path = _strip_metadata(_find_type_at(target_type, path))
    types = type_at_path.types if isinstance(type_at_path, msgspec.inspect.UnionType) else (type_at_path,)
    descriptions = (_TYPE_DESCRIPTIONS.get(_get_type_name(member), "") for member in types)
    return " or ".join(dict.fromkeys(filter(None, descriptions))) or "a value"


def _get_type_name(type_info: object) -> str:
    """The name by which msgspec's messages call a type."""
    if isinstance(
        type_info, msgspec.inspect.CollectionType | msgspec.inspect.VarTupleType | msgspec.inspect.TupleType
    ):
        return "array"
    if isinstance(type_info, msgspec.inspect.StructType | msgspec.inspect.DictType):
        return "object"
    return type(type_info).__name__.removesuffix("Type").lower()


def _strip_metadata(target_type: object) -> object:
    """The type without its annotations."""
    return target_type.type if isinstance(target_type, msgspec.inspect.Metadata) else target_type


def _find_struct_info(target_type: object) -> msgspec.inspect.StructType | None:
    if isinstance(target_type, msgspec.inspect.StructType):
        return target_type
    if isinstance(target_type, type) and issubclass(target_type, msgspec.Struct):
        type_info = msgspec.inspect.type_info(target_type)
        return type_info if isinstance(type_info, msgspec.inspect.StructType) else None
    return None


def _unwrap_type(target_type: object) -> object:
    """The struct inside an annotation, an optional, a union or a collection."""
    target_type = _strip_metadata(target_type)
    if isinstance(target_type, msgspec.inspect.UnionType):
        structs = [member for member in map(_unwrap_type, target_type.types) if _find_struct_info(member) is not None]
        return structs[0] if structs else None
    if isinstance(target_type, msgspec.inspect.CollectionType | msgspec.inspect.VarTupleType):
        return _unwrap_type(target_type.item_type)
    if isinstance(target_type, msgspec.inspect.DictType):
        return _unwrap_type(target_type.value_type)
    return target_type


def _format_error_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
