"""Values in places where they do not belong, which the mutators put into files."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Raw:
    """A value written into the file as it is, without quotes."""

    text: str


class Table(list[tuple[str, object]]):
    """Keys and values in order; a key may come twice, unlike in a dictionary."""


LONG = 20_000
UNSAFE = [
    "\0",
    "\x07",
    "\x1b[31m",
    "\x1b]0;owned\x07",
    "\x7f",
    "\x9b2J",
    "\u202e",
    "\u2066",
    "\u2028",
    "\ufeff",
    "\r",
]
"""Characters that would control a terminal, or reverse text."""
TEXTS = [
    "", " ", "\n", "\t", "0", "-1", "1e400", "NaN", "inf", "1e-400GB/s", "80GiB", "400Gb/s", "0GB/s", "-3us", "1e29B",
    "٣GB/s", "１２", "1_0", "1__0", "²", "70B", "true", "null", "bf16", "dgx-h100", "h100-sxm-80gb", "../../etc/passwd",
    "a[0-3]", "a[0-999999999]", "a[1-", "a:3", "a:-1", "a - b", "a,b", "=", "#", "'", '"', "\\", "<script>", "|", "`",
    "%s", "{0}", "$(id)", "=1+1", "é", "ß", "İ", "🦙", "a" * LONG, "9" * 400, *(f"a{sign}b" for sign in UNSAFE),
]  # fmt: skip
NUMBERS = [
    0, 1, 2, 3, 5, 7, 8, 64, 1000, 65_536, 65_537, 2**24, 2**24 + 1, 2**31, 2**40, 2**53 + 1, 2**63 - 1, 2**63, 2**64,
    10**30, 10**400, -1, -(2**63), -(10**400), 0.5, -0.0, 0.1, 1.5, 1e-300, 5e-324, 1e15, 1e30, 1e308, math.nan,
    math.inf, -math.inf,
]  # fmt: skip
SCALARS: list[object] = [None, True, False, *TEXTS, *NUMBERS, Table(), [], [[]], [Table()], Table([("", "")])]

_HEX = "0x" + "f" * 5000
RAW = {
    "toml": [
        "1979-05-27", "1979-05-27T07:32:00Z", "07:32:00", "+inf", "-nan", _HEX, "0b" + "1" * 70, "0o777", "1_000",
        "01", "1e400", "9" * 5000, "'''\n'''", '"\\u0000"', '"\\u009b"', '"\\uD800"', '"\\u202e"', "{ a.b.c = 1 }",
        "[,]", "",
    ],
    "json": [
        "1e999", "-0", "9" * 5000, "0." + "9" * 5000, "NaN", "Infinity", '"\\ud800"', '"\\ud800\\udc00"', '"\\u0000"',
        '"\\u001b[2J"', '"\\u202e"', "tru", "{}", "[1,]", '{"a":1,"a":2}', "",
    ],
    "yaml": [
        "!!binary aGk=", "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1, a: 2]", "2001-12-14", "2001-12-14t21:59:43Z",
        "2001-99-99", "&a [*a]", "*a", "&a b", "!!python/object/apply:os.system [id]", "!!float x", "!!int x",
        "!!int ''", "!!float '.'", "!!timestamp x", "!!bool x", "!!binary é", ":".join(["59"] * 3000), _HEX,
        "0b" + "1" * 70, "09", "0_", "+_", "0x_", ".nan", "-.inf", "~", "? [a, b]\n: c", "{<<: {a: 1}}", "{<<: 3}",
        "{[a]: b}", "{{a: b}: c}", "{1: 2}", "{null: 1}", '"\\x1b[2J"', '"\\0"', "|\n  a", "!<a> b", "!x y", "%a",
        "@", "`", "{? a}", "",
    ],
}  # fmt: skip
"""Texts that have a meaning of their own in one of the formats."""

SCRAPS = [
    *UNSAFE, "\r\n", "\n\n", " ", "\t", "é", '"', "'", "[", "]", "[[", "{", "}", "<", ">", "&x;", "&#0;", "&#x1b;",
    ",", ";", ":", "=", "#", "//", "|", "-", "*", "?", "99999999999999999999", "-1", "0", "1e308", "NaN", "(null)",
    "NV999", "4xZDR", "gpu:", "slots=0", "x" * LONG, "[" * 300, "{a=" * 300, "- " * 300, "<a>" * 300,
]  # fmt: skip
BYTES = [b"\xff", b"\xc3", b"\xe9", b"\xf4\x90\x80\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"\0"]
"""Invalid UTF-8, and byte order marks."""
