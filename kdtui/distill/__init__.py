"""The paper's framework: knowledge in its formats, and which of it a session needs."""
