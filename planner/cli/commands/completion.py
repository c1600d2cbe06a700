"""`planner completion`: prints the script by which a shell completes `plan` and `planner`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from planner.cli.io.output import write_stdout
from planner.cli.options.command import declare_command
from planner.request.options import Option
from planner.request.values import parse_choice

SHELLS = ("bash", "zsh", "fish")
_SCRIPTS_FOLDER = Path(__file__).parents[1] / "completion" / "shells"


@declare_command(
    Option(
        "shell", "Arguments", "bash, zsh or fish.", partial(parse_choice, names=SHELLS), metavar="SHELL",
        choices=SHELLS, is_argument=True, is_required=True,
    )
)  # fmt: skip
def completion(shell: str) -> None:
    """Print the script by which a shell completes commands.

    It completes options, models, clusters and files as well, for `plan` and `planner`.

    bash and zsh read it at every start: `eval "$(planner completion bash)"` in ~/.bashrc, or the same with zsh in
    ~/.zshrc, below compinit. fish reads it from ~/.config/fish/conf.d/planner.fish.

    \b
    Examples:
      planner completion bash
      planner completion fish > planner.fish
    """
    write_stdout((_SCRIPTS_FOLDER / f"planner.{shell}").read_text("utf-8"), is_machine_readable=True)
