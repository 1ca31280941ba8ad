"""How the engine computes where nothing else is asked for."""

from llmpi.quality.records import Computation

BY_DEFAULT: Computation = {"kv_cache": "f16", "flash_attention": "auto"}
"""llama.cpp's own: `llmpi.study.computation.DEFAULT`."""
