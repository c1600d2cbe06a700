"""Exports a plan as files of trainers and launchers."""
