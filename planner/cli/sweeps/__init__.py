"""The parts of `planner sweep`: its file, one point, the journal, workers, results."""
