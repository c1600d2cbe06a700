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
        where = ": ".join(_cut(part) for part in (self.origin, self.key) if part)
        problem = _cut(self.problem)
        lines = [f"{where}: {problem}" if where else problem]
        if self.value is not None:
            lines.append(f"  value:    {_shown(self.value)}")
        if self.expected:
            lines.append(f"  expected: {_cut(self.expected, 5000)}")
        if self.suggestion:
            lines.append(f"  did you mean {_cut(self.suggestion)}?")
        return "\n".join(visible(line) for line in lines)

    def elsewhere(self, origin: str, key: str = "") -> InputError:
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


_SHORTEST_BEGINNING = 3
_LONGEST_NAME = 200
"""Characters: what is longer is no typo of a name, and to compare it would take long."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that `name` is most likely a typo, the end (`tp` of `strategy.tp`) or a beginning of, or an
    empty string. First and last words go before signs that are nearly right: `h100-sxm` is h100-sxm-80gb.
    """
    if len(name) > _LONGEST_NAME:
        return ""
    from difflib import get_close_matches

    by_fold = {candidate.casefold(): candidate for candidate in known}
    text = name.casefold()
    long_enough = len(text) >= _SHORTEST_BEGINNING
    words = [one for one in by_fold if long_enough and (one.startswith(f"{text}-") or one.endswith(f"-{text}"))]
    found = [one for one in by_fold if one.endswith(f".{text}")]
    found = found or get_close_matches(text, words or list(by_fold), 1, 0.6)
    if not found and long_enough:
        found = sorted((one for one in by_fold if one.startswith(text)), key=len)
    return by_fold[found[0]] if found else ""


def unknown_name(what: str, name: str, known: Iterable[str], *, origin: str = "", key: str = "") -> InputError:
    """The error for a name that is not among the known ones: lists them and suggests the nearest."""
    names = sorted(known)
    return InputError(
        f"unknown {what}",
        origin=origin,
        key=key,
        value=name,
        expected=f"one of {', '.join(names)}",
        suggestion=nearest(name, names),
    )


def visible(text: str) -> str:
    """The text with every sign that is not printed, such as one that would steer a terminal, as an escape."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escape(ord(one)) for one in text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _shown(value: object) -> str:
    """A value as one line of at most some hundred characters."""
    try:
        text = (value or '""') if isinstance(value, str) else repr(value)
    except ValueError:  # Python writes no whole number of thousands of digits out
        return "a number of thousands of digits"
    return _cut(text, 120)


def _cut(text: str, limit: int = 1000) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
