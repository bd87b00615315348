"""Kinds of run: what a spec is, and the function that carries it out."""
