"""The photo that the quickstart enhances; README.md says whose it is."""
