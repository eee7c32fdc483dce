"""Paid calls to models: made within a budget, stored, and never paid for twice."""
