"""Knowledge: find it, ask teachers for it, sample it, export and import it."""
