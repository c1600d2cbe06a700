"""A large cluster that is not regular: rails with cards that are gone or slow, and thin cables up."""

from __future__ import annotations

import random
from pathlib import Path

HOSTS, PER_LEAF, RAILS, SPINES = 2048, 32, 8, 16
FAULTS = 40


def write_irregular(path: Path) -> None:
    """2,048 hosts of 8 on rails, 2:1 oversubscribed, with 40 faults; always the same."""
    groups = HOSTS // PER_LEAF
    lines = [
        'name = "irregular"',
        'node = "dgx-h100"',
        f'[[hosts]]\nname = "n[0-{HOSTS - 1}]"',
        f'[[switches]]\nname = "leaf-[0-{groups - 1}]-[0-{RAILS - 1}],spine-[0-{SPINES * RAILS - 1}]"',
    ]
    for rail in range(RAILS):
        for group in range(groups):
            hosts = f"n[{group * PER_LEAF}-{(group + 1) * PER_LEAF - 1}]:{rail}"
            lines.append(f'[[links]]\nends = ["{hosts}", "leaf-{group}-{rail}"]\nbandwidth = "400Gb/s"')
        spines = f"spine-[{rail * SPINES}-{(rail + 1) * SPINES - 1}]"
        lines.append(f'[[links]]\nends = ["leaf-[0-{groups - 1}]-{rail}", "{spines}"]\nbandwidth = "400Gb/s"')
    draw = random.Random(1)
    for number in range(FAULTS):
        host, rail = draw.randrange(HOSTS), draw.randrange(RAILS)
        group, spine = host // PER_LEAF, rail * SPINES + draw.randrange(SPINES)
        part = f"leaf-{group}-{rail} - spine-{spine}" if number % 3 == 0 else f"n{host}:{rail}"
        lines.append(f'[[faults]]\npart = "{part}"\nrate = {(0.25, 0.5, 0.0)[number % 3]}')
    path.write_text("\n".join(lines) + "\n")
