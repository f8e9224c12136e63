"""SQL: the ground under the tables, the rules over them, and the named statements."""
