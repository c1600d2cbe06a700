"""One browser for all tests of a process. They take half a minute: only `make test-browser` opens it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.browser.chromium import Chromium, chromium, find_browser_program


@pytest.fixture(scope="session")
def browser() -> Iterator[Chromium]:
    if os.environ.get("PLANNER_BROWSER") != "needed":
        pytest.skip("make test-browser opens the pages")
    program = find_browser_program()
    if program is None:
        pytest.fail("chromium is not installed")
    with chromium(program) as opened:
        yield opened
