"""Paid calls to models: asked within a budget, kept, and never paid for twice."""
