"""Bisection of a wiring whose hosts are not listed by where they are."""

import pytest

from planner.cluster.bisection import wiring_bisection
from planner.cluster.cluster import resolve_cluster
from planner.cluster.spec import parse_cluster


@pytest.mark.parametrize("oversubscription", [1.0, 4.0])
def test_a_tree_is_halved_between_its_leaves(oversubscription: float) -> None:
    text = 'name = "w"\nnode = "dgx-h100"\n[[hosts]]\nname = "h[0-7]"\n[[switches]]\nname = "leaf[0-3],spine"\n'
    for leaf in range(4):
        # neighbours in the file are never at one leaf
        text += f'[[links]]\nends = ["h[{leaf},{leaf + 4}]", "leaf{leaf}"]\nbandwidth = "400Gb/s"\ncables = 8\n'
        text += f'[[links]]\nends = ["leaf{leaf}", "spine"]\nbandwidth = "{6400 / oversubscription}Gb/s"\n'
    wiring = resolve_cluster(parse_cluster(text, "toml", "w"), "w").wiring
    assert wiring is not None
    assert wiring_bisection(wiring).bytes_per_s == pytest.approx(2 * 6400e9 / 8 / oversubscription)
