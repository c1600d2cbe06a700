"""Settings of hypothesis for all tests: no clock decides, failures repeat."""

from hypothesis import settings

settings.register_profile("planner", deadline=None, derandomize=True)
settings.load_profile("planner")
