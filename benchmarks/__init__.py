"""Speed, in runs that print medians and ratios. Never a test."""
