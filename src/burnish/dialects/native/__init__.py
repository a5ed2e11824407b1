"""Burnish's own API, at `/v1`: tasks, uploads, signed files, models. `docs/reference/api.md` tells it to its users."""
