"""From nothing to a study: models that suit a board, and a config that runs."""
