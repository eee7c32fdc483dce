"""Model files: GGUF, safetensors and adapters, read and written whole."""
