"""Trainings: prepare, start, watch and evaluate them, here and on hosts."""
