"""Runs: evaluate students, score their answers, and compare them."""
