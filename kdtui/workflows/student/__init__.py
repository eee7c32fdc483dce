"""Students: choose one, open it, and let it answer."""
