"""Adapters and routers: describe, merge, export and import them."""
