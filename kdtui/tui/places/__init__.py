"""One folder for each place of the app."""
