"""The place Samples: named subsets of knowledge."""
