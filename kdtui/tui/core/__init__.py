"""What all screens build on."""
