"""Bundles from the probabilities that pairs of products belong together; no language model is needed."""
