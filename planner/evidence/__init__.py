"""Measured runs: read them, predict them, report prediction errors, fit the calibration."""
