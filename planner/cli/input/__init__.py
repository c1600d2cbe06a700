"""Plan documents and lists of plans as input of commands."""
