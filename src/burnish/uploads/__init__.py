"""Bytes in and out: promise a place, receive, fetch, sign a link, expire.

A *blob* is media that a client may name: an upload, a fetched input, an output. An *object* is bytes in storage;
its key is committed before its first byte and stays until after its last, so nothing stored is ever unnamed.
"""
