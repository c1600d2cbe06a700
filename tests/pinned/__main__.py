"""`python -m tests.pinned`: compute the pinned figures again, print which changed and by how much, and store them."""

from __future__ import annotations

from tests.pinned.commands import get_figure, read_commands, read_figures, run_pinned_command, write_figures


def main() -> None:
    """Compare and write."""
    commands, figures = read_commands(), read_figures()
    documents = {name: run_pinned_command(commands[name].command).document for name in {name for name, _ in figures}}
    for (name, path), before in figures.items():
        now = get_figure(documents[name], path)
        if now != before:
            print(f"{name} {path}: {before!r} -> {now!r} ({now / before - 1:+.2%})")
            figures[name, path] = now
    write_figures(figures)


if __name__ == "__main__":
    main()
