"""Which plans exist, which fit, which is best."""
