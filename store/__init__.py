"""The knowledge store: one SQLite file that belongs to the user."""
