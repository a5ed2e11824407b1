"""Addresses of databases on the run's server."""

from urllib.parse import urlsplit, urlunsplit


def database_url(dsn: str, name: str) -> str:
    """The same server, another database."""
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(path=f"/{name}"))
