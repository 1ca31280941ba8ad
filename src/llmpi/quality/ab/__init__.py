"""The user's own prompts, answered by each variant and compared in pairs."""
