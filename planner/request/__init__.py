"""The request of a plan: its options, declared once, and the answer to it; for command line, files and Python."""
