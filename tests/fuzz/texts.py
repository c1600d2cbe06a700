"""Damage to a file's bytes and lines, whatever its format."""

from __future__ import annotations

import random
import re

from tests.fuzz.hostile import BYTES, SCRAPS, TEXTS

_WORD = re.compile(r"[\w.+-]+")


def damage_lines(text: str, rng: random.Random) -> str:
    """Lines removed, doubled, swapped; a word replaced by a hostile text or by another word of the file."""
    lines = text.split("\n")
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        place, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        draw = rng.randrange(6)
        if draw == 0 and len(lines) > 1:
            del lines[place]
        elif draw == 1:
            lines[place:place] = [lines[other]] * rng.choice((1, 1, 3, 50))
        elif draw == 2:
            lines[place], lines[other] = lines[other], lines[place]
        else:
            lines[place] = _replace_word(lines[place], lines[other], rng)
    return "\n".join(lines)


def _replace_word(line: str, other: str, rng: random.Random) -> str:
    words, others = list(_WORD.finditer(line)), _WORD.findall(other)
    if not words:
        return line + rng.choice(SCRAPS)
    word = rng.choice(words)
    put = (
        rng.choice(others) if others and rng.random() < 0.4 else rng.choice((rng.choice(TEXTS), word[0] * 2, "", "0"))
    )
    return line[: word.start()] + put + line[word.end() :]


def damage_bytes(raw: bytes, rng: random.Random) -> bytes:
    """Parts removed, doubled, flipped or inserted; or the whole in another encoding."""
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        start = rng.randrange(len(raw) + 1)
        end = min(len(raw), start + rng.choice((0, 0, 1, 4, 40, 400)))
        draw = rng.randrange(8)
        if draw < 3:
            raw = raw[:start] + rng.choice(SCRAPS).encode("utf-8", "surrogatepass") + raw[end:]
        elif draw == 3:
            raw = raw[:start] + rng.choice(BYTES) + raw[end:]
        elif draw == 4:
            raw = raw[:end] + raw[start:end] * rng.choice((1, 1, 5, 50)) + raw[end:]
        elif draw == 5:
            raw = raw[:start] + raw[end:]
        elif draw == 6 and start < len(raw):
            raw = raw[:start] + bytes([raw[start] ^ (1 << rng.randrange(8))]) + raw[start + 1 :]
        else:
            raw = _damage_whole(raw, start, rng)
    return raw


def _damage_whole(raw: bytes, place: int, rng: random.Random) -> bytes:
    draw = rng.randrange(5)
    if draw == 0:
        return raw[:place]
    if draw == 1:
        return b"\xef\xbb\xbf" + raw
    if draw == 2:
        return raw.replace(b"\n", b"\r\n")
    text = raw.decode("utf-8", "replace")
    return text.encode("utf-16" if draw == 3 else "latin-1", "replace")
