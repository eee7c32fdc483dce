"""The framework of the paper: knowledge in three formats, and the selection of the knowledge that a session needs."""
