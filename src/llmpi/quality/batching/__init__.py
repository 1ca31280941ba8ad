"""Many prompts computed together."""
