"""The settings of quality tasks, a module for each kind; `llmpi.study.quality` finds them."""
