"""The HTTP surfaces, one folder each: its routes, its wire format, its words for a refusal.

A surface speaks in its vendor's words and translates in its own `wire.py`; below it everyone speaks Burnish.
"""
