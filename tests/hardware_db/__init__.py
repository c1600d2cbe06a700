"""The figures of hardware_db, and the command that prints them."""
