"""How a model is spoken to: one rendering for what is measured, scored, watched and served."""
