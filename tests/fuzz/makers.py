"""Inputs from samples: a file's name and its bytes, from a generator of random numbers alone."""

from __future__ import annotations

import json
import random
import tomllib
from collections.abc import Callable, Sequence
from functools import cache

from tests.fuzz.hostile import SCRAPS, TEXTS
from tests.fuzz.texts import damaged_bytes, damaged_lines
from tests.fuzz.trees import as_text, damaged, tree_of

Samples = Callable[[], list[str]]
Maker = Callable[[random.Random], tuple[str, bytes]]


def of_trees(samples: Samples, name: str, formats: Sequence[str], source: str = "toml") -> Maker:
    """Damaged trees of TOML (or JSON) samples written in one of the formats; one in three has damaged bytes, too."""

    @cache
    def parsed() -> list[tuple[str, object]]:
        load = tomllib.loads if source == "toml" else json.loads
        return [(text, tree_of(load(text))) for text in samples()]

    def make(rng: random.Random) -> tuple[str, bytes]:
        text, tree = rng.choice(parsed())
        file_format, kind = rng.choice(formats), rng.random()
        if kind < 0.1 and file_format == source:
            text = damaged_lines(text, rng)
        else:
            text = as_text(tree if kind < 0.2 else damaged(tree, rng, file_format), file_format)  # type: ignore[arg-type]
        raw = text.encode("utf-8", "surrogatepass")
        return f"{name}.{file_format}", damaged_bytes(raw, rng) if kind < 0.3 else raw

    return make


def of_lines(samples: Samples, name: str) -> Maker:
    """Damaged lines of samples; one in three has damaged bytes, too, or alone."""
    kept = cache(samples)

    def make(rng: random.Random) -> tuple[str, bytes]:
        text, kind = rng.choice(kept()), rng.random()
        raw = (text if kind < 0.15 else damaged_lines(text, rng)).encode("utf-8", "surrogatepass")
        return name, damaged_bytes(raw, rng) if kind < 0.35 else raw

    return make


def of_bytes(samples: Callable[[], list[bytes]], name: str) -> Maker:
    """Samples with bits turned, or other damage to their bytes."""
    kept = cache(samples)

    def make(rng: random.Random) -> tuple[str, bytes]:
        raw = bytearray(rng.choice(kept()))
        for _ in range(rng.choice((1, 1, 2, 5))):
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        return name, damaged_bytes(bytes(raw), rng) if rng.random() < 0.2 else bytes(raw)

    return make


def of_words(samples: Sequence[str], signs: Sequence[str]) -> Maker:
    """Short texts, as on a command line: samples with signs cut out, put in, doubled; or signs alone."""

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
