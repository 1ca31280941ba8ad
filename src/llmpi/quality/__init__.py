"""Does a variant still work? Questions, answers, scores and their uncertainty."""
