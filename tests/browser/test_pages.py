"""Every page that a command writes, in a real browser: on a phone, in the dark, on paper, without a network."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from planner.cli.app import build_planner_app
from tests.browser.chromium import Chromium, Page
from tests.cli.run import call
from tests.cli.test_examples import TEXTS

PHONE, SCREEN = (390, 844), (1280, 900)
SMALL = "llama-3-8b --cluster dgx-h100 --nodes 2 --global-batch 64"
COMMANDS = {
    "plan": [
        f"plan {SMALL} --tokens 1T --grid fr --pareto step-time,memory-headroom -o page.html",
        "plan mixtral-8x7b -c gb200-nvl72 --nodes 4 -b 256 --uncertainty 20 -o page.html",
        "plan llama-3-8b -c dgx-h100:2+dgx-a100:2 -b 64 -o page.html",
    ],
    "estimate": [f"estimate {SMALL} --tp 8 --zero 1 -o page.html"],
    "explain": [f"estimate {SMALL} --tp 4 --pp 2 --zero 1 -o plan.json", "explain plan.json -o page.html"],
    "topology": [
        "topology dgx-h100 --nodes 64 -o page.html",
        "topology tpu-v4 -o page.html",
        "topology gb200-nvl72 --nodes 36 -o page.html",
    ],
    "check": ["check plan.toml -o page.html"],
    "diff": [
        "check plan.toml -o base.json",
        "check plan.toml --no-ci -o head.json",
        "diff base.json head.json -o page.html",
    ],
    "what-if": [f"what-if {SMALL} --tp 2,4 --set fabric.bandwidth=2x -o page.html"],
    "size": ["size llama-3-8b --cluster dgx-h100 --tokens 1T --deadline 30d -o page.html"],
    "compare": ["compare llama-3-8b --on dgx-h100:8 --on tpu-v5p:16 --on xeon-8480plus:2 --tokens 1T -o page.html"],
    "validate": ["validate -o page.html"],
    "hardware": [
        "hardware list --vendor nvidia -o page.html",
        "hardware compare a100-sxm-80gb h100-sxm-80gb b200 mi300x -o page.html",
    ],
    "plot": ["sweep sweep.toml -o results.csv", "plot results.csv --x nodes --y mfu -o page.html"],
}
"""By the command that writes the page: lines of `planner`, of which every line that writes page.html makes a case."""
CASES = [(name, place) for name, lines in COMMANDS.items() for place, line in enumerate(lines) if "page.html" in line]

SMALLEST_TEXT = """
Math.min(...Array.from(document.querySelectorAll("body *")).filter(element => {
  const own = Array.from(element.childNodes).some(node => node.nodeType === 3 && node.data.trim());
  return own && !["TITLE", "STYLE"].includes(element.tagName.toUpperCase()) && element.getClientRects().length;
}).map(element => parseFloat(getComputedStyle(element).fontSize) *
  (element.getScreenCTM ? Math.hypot(element.getScreenCTM().a, element.getScreenCTM().b) : 1)))
"""
"""CSS pixels of the smallest text, a drawing's scale taken into account; titles of axes are turned."""
LEAST_CONTRAST = """
(() => {
  const light = text => {
    const parts = text.match(/[0-9.]+/g).map(Number);
    const linear = parts.slice(0, 3).map(c => c / 255)
      .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const below = node => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
    return "rgb(255, 255, 255)";
  };
  return Math.min(...Array.from(document.querySelectorAll("h1, h2, p, td, th, dt, dd, li, figcaption")).map(node => {
    const [a, b] = [light(getComputedStyle(node).color), light(below(node))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }));
})()
"""
"""Of text and what is behind it, as WCAG 2 defines it: 4.5 is enough for any size."""
DRAWINGS = """
Array.from(document.querySelectorAll("svg")).map(element => [
  element.getBoundingClientRect().width, element.querySelectorAll("rect, circle, line, path").length,
  element.querySelectorAll("rect > title, circle > title, line > title, path > title").length])
"""


@pytest.fixture(params=CASES, ids=[f"{name}-{place}" for name, place in CASES])
def file(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page."""
    monkeypatch.chdir(tmp_path)
    for given, text in TEXTS.items():
        Path(given).write_text(text)
    name, place = request.param
    for line in COMMANDS[name][: place + 1]:
        if "page.html" not in line or line == COMMANDS[name][place]:
            done = call("planner", *shlex.split(line))
            assert done.returncode == 0, done.stderr
    return tmp_path / "page.html"


def open_page(browser: Chromium, file: Path, size: tuple[int, int]) -> Page:
    page = Page(browser, *size)
    page.open(file.as_uri())
    return page


def test_a_page_is_whole_and_can_be_read(browser: Chromium, file: Path) -> None:
    page = open_page(browser, file, PHONE)
    assert page.run("document.documentElement.scrollWidth") <= PHONE[0]  # type: ignore[operator]
    assert page.run(SMALLEST_TEXT) >= 10.0  # type: ignore[operator]
    drawings = page.run(DRAWINGS)
    assert drawings or file.with_name("head.json").exists(), "there is no drawing"
    for width, shapes, titles in drawings:  # type: ignore[attr-defined]
        assert 200 < width <= PHONE[0]
        assert shapes > 0
        assert titles > 0, "there are no tooltips"
    assert page.run(LEAST_CONTRAST) >= 4.5  # type: ignore[operator]
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert page.run(LEAST_CONTRAST) >= 4.5  # type: ignore[operator]
    printed = page.call("Page.printToPDF", printBackground=False)
    assert base64.b64decode(str(printed["data"])).startswith(b"%PDF-")
    assert page.complaints() == []
    assert page.requested_urls() == [file.as_uri()]
    wide = open_page(browser, file, SCREEN)
    assert wide.run("document.documentElement.scrollWidth") <= SCREEN[0]  # type: ignore[operator]
    assert (wide.complaints(), wide.requested_urls()) == ([], [file.as_uri()])


def test_flaws_of_a_page_would_be_seen(browser: Chromium, tmp_path: Path) -> None:
    file = tmp_path / "wrong.html"
    file.write_text(
        '<meta name="viewport" content="width=device-width"><p style="width:500px;font-size:7px;color:#999">wide'
        '<img src="https://example.com/a.png"><script>console.warn("hear")</script>'
    )
    page = open_page(browser, file, PHONE)
    assert page.run("document.documentElement.scrollWidth") > PHONE[0]  # type: ignore[operator]
    assert page.run(SMALLEST_TEXT) == 7
    assert page.run(LEAST_CONTRAST) < 4.5  # type: ignore[operator]
    assert page.run(DRAWINGS) == []
    assert page.requested_urls() == [file.as_uri(), "https://example.com/a.png"]
    assert any("hear" in complaint for complaint in page.complaints())


def list_page_commands() -> Iterator[str]:
    """The commands that write pages, by the help of their --output."""
    for name, command in typer.main.get_command(build_planner_app()).commands.items():  # type: ignore[attr-defined]
        if any("--output" in option.opts and ".html" in (option.help or "") for option in command.params):
            yield name


def test_every_command_that_writes_pages_is_opened() -> None:
    assert set(list_page_commands()) <= set(COMMANDS)
