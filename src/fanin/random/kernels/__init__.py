"""What Numba compiles: importing it takes a moment, so it is imported at the first draw."""
