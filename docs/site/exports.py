"""The reference of exports: trainers and launchers."""

from __future__ import annotations

import sys

from docs.site.words import escape_text, format_code, format_page
from planner.export.launchers import LAUNCHERS
from planner.export.trainers import TRAINERS
from planner.trainers.registry import list_trainers_of_program


def build_pages() -> dict[str, str]:
    """Every page by its path."""
    blocks = [
        "`planner export --to TRAINER --launcher LAUNCHER`; [what each supports](../how-to/export.md).",
        "## Trainers",
    ]
    for name, trainer in TRAINERS.items():
        frameworks = ", ".join(format_code(f"--trainer {name}") for name in list_trainers_of_program(trainer.name))
        script = " It runs your own training script." if trainer.needs_script else ""
        blocks += [
            f"### {name}",
            _format_module_docstring(trainer.build_script_body.__module__),
            f"Version {trainer.program.version}. Plans for it: {frameworks}.{script}",
        ]
    blocks += ["## Launchers"]
    for name, launcher in LAUNCHERS.items():
        blocks += [f"### {name}", _format_module_docstring(launcher.build_files.__module__)]
    return {"exports.md": format_page("Exports", *blocks)}


def _format_module_docstring(module: str) -> str:
    """The docstring of a module, in paragraphs."""
    return "\n\n".join(escape_text(paragraph) for paragraph in (sys.modules[module].__doc__ or "").split("\n\n"))
