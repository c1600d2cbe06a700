"""`python -m tests.pinned`: compute the pinned figures again, print which moved and by how much, and keep them."""

from __future__ import annotations

from tests.pinned.answers import answer_question, find_figure, read_figures, read_questions, write_figures


def main() -> None:
    """Compare and write."""
    questions, figures = read_questions(), read_figures()
    documents = {name: answer_question(questions[name].command).document for name in {name for name, _ in figures}}
    for (name, path), before in figures.items():
        now = find_figure(documents[name], path)
        if now != before:
            print(f"{name} {path}: {before!r} -> {now!r} ({now / before - 1:+.2%})")
            figures[name, path] = now
    write_figures(figures)


if __name__ == "__main__":
    main()
