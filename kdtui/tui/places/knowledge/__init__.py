"""The place Knowledge: pieces of knowledge to search, read and edit."""
