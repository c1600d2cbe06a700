"""`python -m tests.pinned [NAME ...]`: answer the questions anew and tell what moved."""

from __future__ import annotations

import sys

from tests.pinned.answers import KEPT, answered, differences, questions, read, write


def main() -> None:
    """Write what is new or has moved; take away what nobody asks."""
    asked = questions()
    KEPT.mkdir(exist_ok=True)
    for name in sys.argv[1:] or asked:
        now = answered(asked[name])
        if not (KEPT / f"{name}.json").exists():
            print(f"{name}: new, exit {now['exit']} {' '.join(map(str, now['err']))[:160]}")
            write(name, now)
        elif moved := list(differences(read(name), now)):
            print(f"{name}: {len(moved)} moved, {moved[0]}")
            write(name, now)
    for file in KEPT.glob("*.json"):
        if file.stem not in asked:
            print(f"{file.stem}: gone")
            file.unlink()


if __name__ == "__main__":
    main()
