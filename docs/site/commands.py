"""The reference of the command line: a page for each command, and the exit codes."""

from __future__ import annotations

from docs.site.words import escape_text, format_block, format_code, format_list, format_page, format_table
from planner.cli.completion.command_reference import EXIT_CODES, CommandText, OptionText, describe_commands


def build_pages() -> dict[str, str]:
    """Every page by its path."""
    commands = describe_commands()
    pages = {
        f"commands/{_get_file_name(name)}": _build_page(command, set(commands)) for name, command in commands.items()
    }
    index = format_table(
        ("command", "effect"),
        ((_format_link(name), escape_text(command.summary)) for name, command in commands.items()),
    )
    links = "`plan` is `planner plan`. The manual pages have the same text: `man planner-topology`."
    pages["commands/index.md"] = format_page("Commands", links, index)
    pages["exit-codes.md"] = format_page("Exit codes", format_table(("code", "meaning"), EXIT_CODES))
    return pages


def _build_page(command: CommandText, known: set[str]) -> str:
    usage = " ".join([command.name, "[OPTIONS]", *(name for name, _ in command.arguments)])
    blocks = [
        format_block("text", [f"{usage} COMMAND" if command.commands else usage]),
        *map(escape_text, command.paragraphs),
    ]
    if command.commands:
        rows = ((_format_link(f"{command.name} {word}", known), escape_text(what)) for word, what in command.commands)
        blocks += ["## Commands", format_table(("command", "effect"), rows)]
    if command.arguments:
        blocks += [
            "## Arguments",
            format_table(
                ("argument", "meaning"), ((format_code(n), escape_text(what)) for n, what in command.arguments)
            ),
        ]
    blocks += [
        "## Options",
        format_table(("option", "value", "effect"), map(_build_option_row, command.options)),
    ]
    for example in command.examples:
        blocks += ["## Examples", format_block("sh", example)]
    related_links = [_format_link(name, known) for name in command.related_commands]
    blocks += ["## See also", format_list([*related_links, "[exit codes](../exit-codes.md)"])]
    return format_page(format_code(command.name), *blocks)


def _build_option_row(option: OptionText) -> tuple[str, str, str]:
    value = format_code(option.value)
    if "|" in option.value:  # a long list of choices in option word cannot be broken
        value = ", ".join(map(format_code, option.value.split("|")))
    return ", ".join(map(format_code, option.names)), value, escape_text(option.description)


def _get_file_name(name: str) -> str:
    return f"{name.replace(' ', '-')}.md"


def _format_link(name: str, known: set[str] | None = None) -> str:
    shown = "plan" if name == "planner plan" else name
    return f"[{format_code(name)}]({_get_file_name(shown)})" if known is None or shown in known else format_code(name)
