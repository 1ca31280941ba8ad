"""What was measured, brought together."""
