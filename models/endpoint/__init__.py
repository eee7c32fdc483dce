"""Clients of OpenAI-compatible servers: students, teachers and embeddings."""
