"""Communication of each parallel dimension."""
