"""The place Workbench: sessions, and the bundles that students generate for them."""
