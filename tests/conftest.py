"""Settings of hypothesis for all tests: no clock decides, failures repeat."""

import os

from hypothesis import settings

settings.register_profile("planner", deadline=None, derandomize=True)
settings.load_profile("planner")

for variable in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE", "GITLAB_CI", "CI_PROJECT_DIR"):
    os.environ.pop(variable, None)  # where the tests themselves run in continuous integration
