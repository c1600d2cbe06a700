"""The reference of the command line: a page for each command, and the exit codes."""

from __future__ import annotations

from docs.site.words import block, code, listing, page, said, table
from planner.cli.completion.command_reference import EXIT_CODES, CommandText, OptionText, describe_commands


def pages() -> dict[str, str]:
    """Every page by its path."""
    commands = describe_commands()
    made = {f"commands/{_file(name)}": _page(one, set(commands)) for name, one in commands.items()}
    index = table(("command", "what it does"), ((_link(name), said(one.summary)) for name, one in commands.items()))
    links = "`plan` is `planner plan`. Manual pages have the same: `man planner-topology`."
    made["commands/index.md"] = page("Commands", links, index)
    made["exit-codes.md"] = page("Exit codes", table(("code", "what it means"), EXIT_CODES))
    return made


def _page(command: CommandText, known: set[str]) -> str:
    usage = " ".join([command.name, "[OPTIONS]", *(name for name, _ in command.arguments)])
    blocks = [block("text", [f"{usage} COMMAND" if command.commands else usage]), *map(said, command.paragraphs)]
    if command.commands:
        rows = ((_link(f"{command.name} {word}", known), said(what)) for word, what in command.commands)
        blocks += ["## Commands", table(("command", "what it does"), rows)]
    if command.arguments:
        blocks += [
            "## Arguments",
            table(("argument", "what it is"), ((code(n), said(what)) for n, what in command.arguments)),
        ]
    blocks += ["## Options", table(("option", "value", "what it does"), map(_row, command.options))]
    for one in command.examples:
        blocks += ["## Examples", block("sh", one)]
    others = [_link(one, known) for one in command.related_commands]
    blocks += ["## See also", listing([*others, "[exit codes](../exit-codes.md)"])]
    return page(code(command.name), *blocks)


def _row(one: OptionText) -> tuple[str, str, str]:
    value = code(one.value)
    if "|" in one.value:  # a long list of choices in one word cannot be broken
        value = ", ".join(map(code, one.value.split("|")))
    return ", ".join(map(code, one.names)), value, said(one.description)


def _file(name: str) -> str:
    return f"{name.replace(' ', '-')}.md"


def _link(name: str, known: set[str] | None = None) -> str:
    shown = "plan" if name == "planner plan" else name
    return f"[{code(name)}]({_file(shown)})" if known is None or shown in known else code(name)
