"""Burnish: the self-hosted media-AI API."""
