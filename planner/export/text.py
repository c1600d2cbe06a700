"""Text of files: comments, shell words and arrays, YAML, JSON, calls in Python."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence

import yaml

CommandOptions = Sequence[tuple[object, ...]]
"""Command-line options, each with its values."""


def format_comments(lines: Sequence[str]) -> str:
    """The lines as comments of a shell script, of YAML or of Python."""
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def quote_words(*words: object) -> str:
    """Words, quoted for the shell."""
    return " ".join(shlex.quote(str(word)) for word in words)


def format_bash_array(name: str, options: CommandOptions, comment: str = "") -> str:
    """A bash array with an option per line."""
    body = "".join(f"  {quote_words(*option)}\n" for option in options)
    return (f"# {comment}\n" if comment else "") + f"{name}=(\n{body})\n"


def format_exports(variables: Mapping[str, object]) -> str:
    """Environment variables, each set where the user has not set it."""
    return "".join(f"export {name}=${{{name}:-{quote_words(value)}}}\n" for name, value in variables.items())


class _BlockStyleDumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and no references between equal parts."""

    def ignore_aliases(self, data: object) -> bool:
        """Write no references."""
        return True


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_BlockStyleDumper.add_representer(str, _represent_text)


def format_yaml(comment_lines: Sequence[str], *documents: object) -> str:
    """The documents of a YAML file, keys in the given order, below lines of comment."""
    text = yaml.dump_all(
        documents, Dumper=_BlockStyleDumper, sort_keys=False, allow_unicode=True, width=118, default_flow_style=False
    )
    return format_comments(comment_lines) + text


def format_json(document: object) -> str:
    """The document as JSON."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


class PythonSource(str):
    """Source text that is written unquoted."""

    __slots__ = ()


def format_python_call(name: str, arguments: Mapping[str, object], depth: int = 0) -> PythonSource:
    """`name(argument=value, ...)`, an argument per line; `depth`: the steps of indentation of its lines."""
    if not arguments:
        return PythonSource(f"{name}()")
    inner_indent, outer_indent = "    " * (depth + 1), "    " * depth
    lines = "".join(f"{inner_indent}{key}={_format_python_value(value)},\n" for key, value in arguments.items())
    return PythonSource(f"{name}(\n{lines}{outer_indent})")


def _format_python_value(value: object) -> str:
    if isinstance(value, PythonSource):
        return str(value)
    return f'"{value}"' if isinstance(value, str) and '"' not in value and "\\" not in value else repr(value)
