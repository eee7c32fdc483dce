"""The llama.cpp engine: students and embeddings that run in this process."""
