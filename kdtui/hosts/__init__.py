"""Other machines to train on: how they are reached, what is sent to them, and what they are asked."""
