"""Rows that may be compared, ranked, and written out. Pure: from records of runs."""
