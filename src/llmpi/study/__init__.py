"""What may be said of a study, and what follows from it."""
