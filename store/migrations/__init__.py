"""The schema, as numbered migrations. A released migration is never edited: a change is a new one.

They are applied in the order of their registration, so the modules below are imported in ascending order. A new
migration goes into a new module, named after the range of its numbers.
"""

from store.migrations import m0001_to_m0010, m0011_to_m0019, m0020_to_m0028
from store.migrations.registry import migrations

__all__ = ["m0001_to_m0010", "m0011_to_m0019", "m0020_to_m0028", "migrations"]
