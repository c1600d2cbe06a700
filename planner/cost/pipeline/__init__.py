"""Layers in stages, and the schedule of stages."""
