"""Models described operator by operator."""
