"""Files, terminal, progress."""
