"""One folder per method; the folders are the registry."""
