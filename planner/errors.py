"""Errors for users: their messages and their exit codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class PlannerError(Exception):
    """Base of all errors that a user sees as one message without a traceback."""

    exit_code = 1


class InputError(PlannerError):
    """Bad input or usage. The message has the place, key, value, what was expected and the nearest valid name.

    `origin`: the file, or the command that has the option; `key`: the key or option; `value`: the value that was
    read (None: nothing to print); `expected`: what would be valid.
    """

    exit_code = 2

    def __init__(
        self,
        problem: str,
        *,
        origin: str = "",
        key: str = "",
        value: object = None,
        expected: str = "",
        suggestion: str = "",
    ) -> None:
        self.problem = problem
        self.origin = origin
        self.key = key
        self.value = value
        self.expected = expected
        self.suggestion = suggestion
        super().__init__(problem)

    def __str__(self) -> str:
        """The message. It is built only on demand: parsers try several interpretations and drop most errors."""
        location = ": ".join(_truncate_text(part) for part in (self.origin, self.key) if part)
        problem = _truncate_text(self.problem)
        lines = [f"{location}: {problem}" if location else problem]
        if self.value is not None:
            lines.append(f"  value:    {_format_value(self.value)}")
        if self.expected:
            lines.append(f"  expected: {_truncate_text(self.expected, 5000)}")
        if self.suggestion:
            lines.append(f"  did you mean {_truncate_text(self.suggestion)}?")
        return "\n".join(escape_nonprintable(line) for line in lines)

    def relocate(self, origin: str, key: str = "") -> InputError:
        """The same error with the file and key where the value really stands."""
        return InputError(
            self.problem,
            origin=origin,
            key=key or self.key,
            value=self.value,
            expected=self.expected,
            suggestion=self.suggestion,
        )


@contextmanager
def name_origin(origin: str) -> Iterator[None]:
    """Name the file `origin` in every InputError of the `with` block that names neither a file nor an option."""
    try:
        yield
    except InputError as error:
        raise (error if error.origin or error.key.startswith("--") else error.relocate(origin)) from None


class NothingFits(PlannerError):  # noqa: N818 - an answer, not an error
    """The search is complete and no plan satisfies its rules. The message has the nearest miss."""

    exit_code = 3


class RequirementNotMet(PlannerError):  # noqa: N818 - an answer, not an error
    """The answer was computed and printed, but it does not meet a requirement of the user."""

    exit_code = 4


_MIN_PREFIX_LENGTH = 3
_MAX_NAME_LENGTH = 200
"""Characters. A longer text is no typo of a name, and comparing it would take long."""


def find_nearest_name(name: str, known_names: Iterable[str]) -> str:
    """The known name that `name` most likely means, or an empty string.

    `name` may be its end (`tp` of `strategy.tp`), a typo of it, or its beginning. Names that share the first or
    last word come before similar spelling: `h100-sxm` gives h100-sxm-80gb.
    """
    if len(name) > _MAX_NAME_LENGTH:
        return ""
    from difflib import get_close_matches

    by_fold = {candidate.casefold(): candidate for candidate in known_names}
    text = name.casefold()
    is_long_enough = len(text) >= _MIN_PREFIX_LENGTH
    word_matches = [
        known_name
        for known_name in by_fold
        if is_long_enough and (known_name.startswith(f"{text}-") or known_name.endswith(f"-{text}"))
    ]
    matches = [known_name for known_name in by_fold if known_name.endswith(f".{text}")]
    matches = matches or get_close_matches(text, word_matches or list(by_fold), 1, 0.6)
    if not matches and is_long_enough:
        matches = sorted((known_name for known_name in by_fold if known_name.startswith(text)), key=len)
    return by_fold[matches[0]] if matches else ""


def build_unknown_name_error(
    noun: str, name: str, known_names: Iterable[str], *, origin: str = "", key: str = ""
) -> InputError:
    """The error for a name that is not among the known ones: lists them and suggests the nearest."""
    names = sorted(known_names)
    return InputError(
        f"unknown {noun}",
        origin=origin,
        key=key,
        value=name,
        expected=f"one of {', '.join(names)}",
        suggestion=find_nearest_name(name, names),
    )


def escape_nonprintable(text: str) -> str:
    """The text with every non-printable character, such as terminal control codes, written as an escape."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _format_escape(ord(character)) for character in text)


def _format_escape(code_point: int) -> str:
    return (
        f"\\x{code_point:02x}"
        if code_point < 0x100
        else f"\\u{code_point:04x}"
        if code_point < 0x10000
        else f"\\U{code_point:08x}"
    )


def _format_value(value: object) -> str:
    """A value on one line of about a hundred characters at most."""
    try:
        text = (value or '""') if isinstance(value, str) else repr(value)
    except ValueError:  # Python refuses to print whole numbers of thousands of digits
        return "a number of thousands of digits"
    return _truncate_text(text, 120)


def _truncate_text(text: str, max_length: int = 1000) -> str:
    return text if len(text) <= max_length else f"{text[:max_length]}… ({len(text)} characters)"
