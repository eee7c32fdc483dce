"""Knowledge: mine it, distil it from teachers, sample it, export and import it."""
