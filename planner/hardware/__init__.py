"""Accelerators, the catalogue of hardware_db, electricity grids: data as values."""
