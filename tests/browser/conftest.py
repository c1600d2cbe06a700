"""One browser for all tests of a process; without one they are skipped, or fail where it has been asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.browser.chromium import Chromium, chromium, found


@pytest.fixture(scope="session")
def browser() -> Iterator[Chromium]:
    program = found()
    if program is None:
        missing("chromium is not installed")
    else:
        with chromium(program) as one:
            yield one


def missing(what: str) -> None:
    """Skip, or with `make test-browser` fail."""
    if os.environ.get("PLANNER_BROWSER") == "needed":
        pytest.fail(what)
    pytest.skip(what)
