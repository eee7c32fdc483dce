"""Estimates, confidence intervals and paired comparisons, as pure functions of the metrics of sessions."""
