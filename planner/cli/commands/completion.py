"""`planner completion`: prints the script by which a shell completes `plan` and `planner`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class CompletionShell(StrEnum):
    """The supported shells."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


COMPLETION_SCRIPTS = Path(__file__).parents[1] / "completion" / "shells"


def completion(shell: Annotated[CompletionShell, typer.Argument(help="bash, zsh or fish.")]) -> None:
    """Print the script by which a shell completes commands.

    It completes options, models, clusters and files as well, for `plan` and `planner`.

    bash and zsh read it at every start: `eval "$(planner completion bash)"` in ~/.bashrc, or the same with zsh in
    ~/.zshrc, below compinit. fish reads it from ~/.config/fish/conf.d/planner.fish.

    \b
    Examples:
      planner completion bash
      planner completion fish > planner.fish
    """
    from planner.cli.io.output import write_stdout

    write_stdout((COMPLETION_SCRIPTS / f"planner.{shell}").read_text("utf-8"), is_machine_readable=True)
