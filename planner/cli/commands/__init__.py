"""The commands: one file each, which is imported when the command is needed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.cli.options.command import Command, CommandGroup

PLANNER_SUMMARY = "Plan distributed training runs."
COMMANDS = {
    "plan": "plan:plan",
    "estimate": "plan:estimate",
    "explain": "explain:explain",
    "export": "export:export",
    "what-if": "what_if:what_if",
    "check": "check:check",
    "diff": "diff:diff",
    "topology": "topology:topology",
    "size": "size:size",
    "compare": "compare:compare",
    "sweep": "sweep:sweep",
    "plot": "plot:plot",
    "validate": "validate:validate",
    "schema": "schema:schema",
    "completion": "completion:completion",
    "models": "presets:models",
    "cluster": "presets:cluster",
    "clusters": "presets:cluster",
    "hardware": "hardware:hardware",
    "trainers": "trainers:trainers",
}
"""The file and the name there of each command, in the order of the help."""
HIDDEN_COMMANDS = ("clusters",)
"""Other names of commands."""


def load_command(name: str) -> Command | CommandGroup:
    """A command of `planner`, or a group of commands."""
    module_name, _, attribute = COMMANDS[name].partition(":")
    command: Command | CommandGroup = getattr(import_module(f"planner.cli.commands.{module_name}"), attribute)
    return command
