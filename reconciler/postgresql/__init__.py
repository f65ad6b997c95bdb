"""How we use PostgreSQL, whatever is stored in it: `address`, then `session`, then `tables`."""
