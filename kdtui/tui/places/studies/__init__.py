"""The place Studies: grids of students."""
