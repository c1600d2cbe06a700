"""Inputs from samples: a file's name and its bytes, from a random number generator alone."""

from __future__ import annotations

import json
import random
import tomllib
from collections.abc import Callable, Sequence
from functools import cache

from tests.fuzz.hostile import SCRAPS, TEXTS
from tests.fuzz.texts import damage_bytes, damage_lines
from tests.fuzz.trees import build_tree, damage_tree, render_tree

Samples = Callable[[], list[str]]
Maker = Callable[[random.Random], tuple[str, bytes]]


def make_trees(samples: Samples, name: str, formats: Sequence[str], source: str = "toml") -> Maker:
    """Damaged trees of TOML (or JSON) samples written in one of the formats; a third has damaged bytes, too."""

    @cache
    def parsed() -> list[tuple[str, object]]:
        load = tomllib.loads if source == "toml" else json.loads
        return [(text, build_tree(load(text))) for text in samples()]

    def make(rng: random.Random) -> tuple[str, bytes]:
        text, tree = rng.choice(parsed())
        file_format, draw = rng.choice(formats), rng.random()
        if draw < 0.1 and file_format == source:
            text = damage_lines(text, rng)
        else:
            text = render_tree(tree if draw < 0.2 else damage_tree(tree, rng, file_format), file_format)  # type: ignore[arg-type]
        raw = text.encode("utf-8", "surrogatepass")
        return f"{name}.{file_format}", damage_bytes(raw, rng) if draw < 0.3 else raw

    return make


def make_lines(samples: Samples, name: str) -> Maker:
    """Damaged lines of samples; a third has damaged bytes, too, or alone."""
    read_samples = cache(samples)

    def make(rng: random.Random) -> tuple[str, bytes]:
        text, draw = rng.choice(read_samples()), rng.random()
        raw = (text if draw < 0.15 else damage_lines(text, rng)).encode("utf-8", "surrogatepass")
        return name, damage_bytes(raw, rng) if draw < 0.35 else raw

    return make


def make_bytes(samples: Callable[[], list[bytes]], name: str) -> Maker:
    """Samples with flipped bits, or other damage to their bytes."""
    read_samples = cache(samples)

    def make(rng: random.Random) -> tuple[str, bytes]:
        raw = bytearray(rng.choice(read_samples()))
        for _ in range(rng.choice((1, 1, 2, 5))):
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        return name, damage_bytes(bytes(raw), rng) if rng.random() < 0.2 else bytes(raw)

    return make


def make_words(samples: Sequence[str], signs: Sequence[str]) -> Maker:
    """Short texts, as on a command line: samples with signs removed, inserted, doubled; or signs alone."""

    def make(rng: random.Random) -> tuple[str, bytes]:
        text = rng.choice((rng.choice(samples), "".join(rng.choice(signs) for _ in range(rng.randrange(8)))))
        for _ in range(rng.choice((0, 1, 1, 2, 3, 6))):
            at = rng.randrange(len(text) + 1)
            end = at + rng.choice((0, 0, 1, 2, 5))
            put = rng.choice(
                (rng.choice(signs), rng.choice(signs), rng.choice(TEXTS), rng.choice(SCRAPS), text[at:end])
            )
            text = text[:at] + put + text[end:]
        return "text", text.encode("utf-8", "surrogatepass")

    return make
