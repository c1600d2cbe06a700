"""What a user is told when something is wrong, and the exit code that goes with it."""

from __future__ import annotations

from collections.abc import Iterable


class PlannerError(Exception):
    """Base of every error that is told to the user in one message, without a traceback."""

    exit_code = 1


class InputError(PlannerError):
    """Bad input or usage: says where, which key, which value, what was expected, and the nearest name.

    `origin` is the file or the command-line option's home, `key` the key or option, `value` what stood
    there (None: nothing to show), `expected` what would have been right.
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
        """The message, made where somebody reads it: readers try one meaning after another."""
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
        """The same fault, told of where the value really stood."""
        return InputError(
            self.problem,
            origin=origin,
            key=key or self.key,
            value=self.value,
            expected=self.expected,
            suggestion=self.suggestion,
        )


class NothingFits(PlannerError):  # noqa: N818 - an answer, not a fault
    """The search is done and no plan satisfies its rules; carries the nearest miss in its message."""

    exit_code = 3


class RequirementNotMet(PlannerError):  # noqa: N818 - an answer, not a fault
    """The answer is told, and it does not meet what was required of it."""

    exit_code = 4


_MIN_PREFIX_LENGTH = 3
_MAX_NAME_LENGTH = 200
"""Characters: what is longer is no typo of a name, and to compare it would take long."""


def find_nearest_name(name: str, known_names: Iterable[str]) -> str:
    """The known name that `name` is most likely a typo, the end (`tp` of `strategy.tp`) or a beginning of, or an
    empty string. First and last words go before signs that are nearly right: `h100-sxm` is h100-sxm-80gb.
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
    """The text with every sign that is not printed, such as one that would steer a terminal, as an escape."""
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
    """A value as one line of at most some hundred characters."""
    try:
        text = (value or '""') if isinstance(value, str) else repr(value)
    except ValueError:  # Python writes no whole number of thousands of digits out
        return "a number of thousands of digits"
    return _truncate_text(text, 120)


def _truncate_text(text: str, max_length: int = 1000) -> str:
    return text if len(text) <= max_length else f"{text[:max_length]}… ({len(text)} characters)"
