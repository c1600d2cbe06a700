"""What an operator takes on one device: one file a class of operator, and `table.py` to find it by its class."""
