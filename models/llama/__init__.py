"""The llama.cpp engine: students and embeddings in this process."""
