"""Time, FLOPs and saved bytes of operators."""
