"""The place Runs: evaluations, their scores, and comparisons."""
