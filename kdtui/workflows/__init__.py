"""One use case per module, without a face: iterators of typed events that a command, a screen or a test consumes."""
