"""The parts of `planner sweep`: its file, a point, the journal, workers, results."""
