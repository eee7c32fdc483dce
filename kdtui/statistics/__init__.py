"""Estimates, intervals and paired comparisons, as pure functions of the measures of sessions."""
