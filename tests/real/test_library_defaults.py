"""The defaults that are read for left-out keys are those of the installed library."""

import pytest

from planner.workload.huggingface.library_defaults import DEFAULTS_FILE, LIBRARY_VERSION
from tests.real.library_defaults import build_lines

transformers = pytest.importorskip("transformers")


@pytest.mark.skipif(transformers.__version__ != LIBRARY_VERSION, reason=f"needs transformers {LIBRARY_VERSION}")
def test_the_stored_defaults_are_those_of_the_library() -> None:
    assert DEFAULTS_FILE.read_text("utf-8").splitlines() == list(build_lines())
