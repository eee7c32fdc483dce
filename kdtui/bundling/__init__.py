"""The task itself, as pure functions: truth, metrics, floors, and what a student is shown."""
