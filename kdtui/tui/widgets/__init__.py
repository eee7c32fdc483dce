"""Parts of screens. They know nothing of the store or of models."""
