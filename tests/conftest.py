"""Settings for all tests: independent of the clock and of the folder that they are run from; failures repeat."""

import gc
import os
import signal

import pytest
from hypothesis import settings

settings.register_profile("planner", deadline=None, derandomize=True, max_examples=25)
settings.register_profile("thorough", deadline=None, max_examples=1000)  # pytest --hypothesis-profile=thorough
settings.load_profile("planner")

# a background job is started with Ctrl-C ignored, and so are the programs that it starts
signal.signal(signal.SIGINT, signal.default_int_handler)

for variable in (
    "PYTHONUNBUFFERED",
    "GITHUB_ACTIONS",
    "GITHUB_STEP_SUMMARY",
    "GITHUB_WORKSPACE",
    "GITLAB_CI",
    "CI_PROJECT_DIR",
):
    os.environ.pop(variable, None)  # where the tests themselves run in continuous integration

LONGEST = (
    "test_published.py",
    "test_fit.py",
    "test_wheel.py",
    "test_sweep.py",
    "test_dask.py",
    "test_determinism.py",
    "test_found_plans.py",
    "test_the_commands_of_a_page_run_in_order_and_print_the_output_shown[sweeps.md]",
)


def pytest_collection_finish() -> None:
    """What is there by now stays: garbage is looked for among what tests leave alone."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tests that are left out are said to be."""
    if config.option.markexpr == "not export and not real and not full":
        terminalreporter.write_line("left out: more cases of many alike, which `make test-full` runs")
        terminalreporter.write_line("left out: tests/export/real, which `make test-export` runs")
        terminalreporter.write_line("left out: tests/real, which `make test-real` runs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: at the end one process would wait for the other."""
    items.sort(key=lambda item: not any(part in item.nodeid for part in LONGEST))
