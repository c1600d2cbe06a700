"""The request for a plan: its options, declared once, and its answer; for the command line, files and Python."""
