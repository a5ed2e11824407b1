"""What every HTTP surface shares, and no surface's words.

A surface is a table of operations (`operation.py`) and its words for a refusal. `endpoint.py` runs one request
through it: the request's id, the refusal's words, the one log line, the counters. Handlers read with `caller.py` and
`bodies.py`, answer with `replies.py`, and stand in `dialects/<name>/routes.py`; `openapi.py` and `reference.py` make
the documentation of the same table.
"""
