"""Energy, failures, spare nodes."""
