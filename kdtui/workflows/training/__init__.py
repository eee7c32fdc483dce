"""Trainings: prepare, start, watch and evaluate them, on this machine and on hosts."""
