"""Trainings that run on their own: what their directories say of them, and how they are started and ended."""
