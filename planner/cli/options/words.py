"""Words for a shell's completion of values: an option's own, or those of the databases' files.

tests/cli/test_completion.py compares every list with the values that the commands accept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import get_args

from planner.cli.lazy import import_lazily
from planner.request.options import ALL, TRAINERS, Completion, Option

with import_lazily():
    from planner.hardware import accelerator
    from planner.trainers import registry

_PACKAGE_FOLDER = Path(__file__).parents[2]
_INSTALLED_DATABASE = _PACKAGE_FOLDER / "hardware_db"
_DATABASE_FOLDER = _INSTALLED_DATABASE if _INSTALLED_DATABASE.is_dir() else _PACKAGE_FOLDER.parent / "hardware_db"
_TITLE_PATTERN = re.compile(r'^title = "(.*)"$', re.MULTILINE)

WordMeanings = Iterable[tuple[str, str]]
"""Words with their meanings, if known."""


def list_option_words(option: Option) -> WordMeanings:
    """All the words of an option's value, or of its part before or after a joining character."""
    completion = option.completion or Completion(option.choices)
    return _WORD_SOURCES[completion.source]() if completion.source else [(word, "") for word in completion.words]


def complete_option(option: Option, typed: str) -> Iterator[str]:
    """The lines for the shell: whole words that `typed` may become, then, for files, a tab and their endings."""
    completion = option.completion or Completion(option.choices)
    prefix_length = max((typed.rfind(separator) + 1 for separator in completion.joins), default=0)
    prefix, partial_word = typed[:prefix_length], typed[prefix_length:].casefold()
    if completion.versions and "@" in typed:
        yield from (word for word, _ in _WORD_SOURCES[completion.versions]() if word.startswith(typed.casefold()))
        return
    key, equals, value = typed.partition("=")
    if equals and key in completion.value_sources:
        words = _WORD_SOURCES[completion.value_sources[key]]()
        yield from (f"{key}={word}" for word, _ in words if word.startswith(value.casefold()))
        return
    # the preset of dgx-h100:32
    used_words = (
        {item.split(":")[0].casefold() for item in re.split(f"[{re.escape(completion.joins)}]", prefix)}
        if prefix_length
        else set()
    )
    for word, meaning in list_option_words(option):
        is_usable = word.casefold() not in used_words and _goes_on(completion, prefix, word)
        if word.casefold().startswith(partial_word) and is_usable:
            yield f"{prefix}{word}\t{' '.join(meaning.split())}" if meaning else f"{prefix}{word}"
    if completion.endings is not None:
        yield "\t" + " ".join(completion.endings)


def _goes_on(completion: Completion, prefix: str, word: str) -> bool:
    """Whether a value may go on with a word after what is typed of it: `all` is a value by itself, and some words do
    not go together.
    """
    if prefix and (word == ALL or prefix[:-1] == ALL):
        return False
    if not prefix.endswith("+") or completion.normalize is None:
        return True
    try:
        completion.normalize(prefix.rpartition(",")[2] + word)
    except ValueError:
        return False
    return True


def _read_titled_files(folder: Path) -> WordMeanings:
    for path in sorted(folder.glob("*.toml")):
        title_match = _TITLE_PATTERN.search(path.read_text("utf-8"))
        yield path.stem, title_match[1] if title_match else ""


def read_grid_words() -> WordMeanings:
    """Electricity grids: countries, parts of them, and regions of clouds."""
    import tomllib

    files = [tomllib.loads(path.read_text("utf-8")) for path in sorted((_DATABASE_FOLDER / "grids").glob("*.toml"))]
    for file in files:
        yield from ((name, grid["title"]) for name, grid in sorted(file.get("grids", {}).items()))
        yield from ((name, f"grid {grid}") for name, grid in sorted(file.get("regions", {}).items()))


def _read_accelerator_values(key: str) -> WordMeanings:
    """The values of a key in all accelerator files: a text, or a list of texts."""
    key_pattern = re.compile(rf"^{key} = (.*)$", re.MULTILINE)
    values: set[str] = set()
    for path in (_DATABASE_FOLDER / "accelerators").glob("*.toml"):
        line = key_pattern.search(path.read_text("utf-8"))
        values.update(re.findall(r'"([^"]*)"', line[1]) if line else ())
    return [(item, "") for item in sorted(values)]


def _read_trainer_versions() -> WordMeanings:
    """NAME@VERSION of each program."""
    for program in registry.PROGRAMS_BY_NAME.values():
        yield from ((f"{program.name}@{version.name}", version.behaviour) for version in program.versions)


_WORD_SOURCES: Mapping[str, Callable[[], WordMeanings]] = {
    "models": partial(_read_titled_files, _PACKAGE_FOLDER / "workload" / "models"),
    "clusters": partial(_read_titled_files, _DATABASE_FOLDER / "clusters"),
    "accelerators": partial(_read_titled_files, _DATABASE_FOLDER / "accelerators"),
    "nodes": partial(_read_titled_files, _DATABASE_FOLDER / "nodes"),
    "grids": read_grid_words,
    "trainers": lambda: [(name, "") for name in TRAINERS],
    "precisions": lambda: [(precision, "") for precision in get_args(accelerator.Precision)],
    "vendors": partial(_read_accelerator_values, "vendor"),
    "accelerator kinds": partial(_read_accelerator_values, "kind"),
    "accelerator places": partial(_read_accelerator_values, "place"),
    "clouds": partial(_read_accelerator_values, "clouds"),
    "trainer versions": _read_trainer_versions,
    "software": partial(_read_accelerator_values, "frameworks"),
}
"""The named sources of completions."""
