"""Files: written completely or not at all, hashed, cached, read as text, JSON or GGUF."""
