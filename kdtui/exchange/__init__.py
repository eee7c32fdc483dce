"""Files that datasets come from and go to."""
