"""The reference of what plans are exported to: trainers and launchers."""

from __future__ import annotations

import sys

from docs.site.words import code, page, said
from planner.export.launchers import LAUNCHERS
from planner.export.trainers import TRAINERS


def pages() -> dict[str, str]:
    """Every page by its path."""
    blocks = [
        "`planner export --to TRAINER --launcher LAUNCHER`; [what each can be told](../how-to/export.md).",
        "## Trainers",
    ]
    for name, trainer in TRAINERS.items():
        frameworks = ", ".join(code(f"--framework {one}") for one in trainer.frameworks)
        script = " It runs a training script of yours." if trainer.needs_script else ""
        blocks += [f"### {name}", _about(trainer.build_files.__module__), f"Plans for it: {frameworks}.{script}"]
    blocks += ["## Launchers"]
    for name, launcher in LAUNCHERS.items():
        blocks += [f"### {name}", _about(launcher.build_files.__module__)]
    return {"exports.md": page("What plans are exported to", *blocks)}


def _about(module: str) -> str:
    """What a module says of itself."""
    return "\n\n".join(said(one) for one in (sys.modules[module].__doc__ or "").split("\n\n"))
