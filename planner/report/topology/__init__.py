"""A fabric's drawing and figures."""
