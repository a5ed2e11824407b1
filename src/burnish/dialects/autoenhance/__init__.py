"""Autoenhance's API: images, orders and brackets are tasks and uploads here; `store.py` keeps which is which."""
