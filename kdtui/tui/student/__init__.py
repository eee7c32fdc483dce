"""Choosing a student, asking it, and showing its answers."""
