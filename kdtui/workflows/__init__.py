"""Use cases without a user interface: iterators of typed events for a command, a screen or a test."""
