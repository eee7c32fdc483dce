"""What kdtui remembers: one SQLite file that belongs to the user."""
