"""Data sets: where images lie, whether they are sound, and how they reach a network."""
