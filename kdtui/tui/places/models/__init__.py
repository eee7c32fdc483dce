"""The place Models: bases, quantizations and adapters."""
