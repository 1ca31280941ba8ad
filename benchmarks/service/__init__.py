"""The service against llama-server without it: the same program, file, slots and threads."""
