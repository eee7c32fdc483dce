"""Datasets: import them, and compute vectors of them."""
