"""What is printed as JSON: one struct a command."""
