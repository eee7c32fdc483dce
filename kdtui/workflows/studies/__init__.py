"""Studies: grids of evaluated students, planned, computed once, and compared."""
