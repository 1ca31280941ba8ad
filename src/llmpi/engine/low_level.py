"""llama.cpp's functions, as llama-cpp-python binds them with ctypes, and nothing else of it.

`import llama_cpp` loads its classes, too, and with them numpy, Jinja and all formats of chats:
three quarters of what an engine's process starts with, and nothing that llmpi calls.
"""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

PACKAGE = "llama_cpp"
FUNCTIONS = f"{PACKAGE}.llama_cpp"


def _functions() -> ModuleType:
    if PACKAGE in sys.modules or (spec := find_spec(PACKAGE)) is None:
        return import_module(FUNCTIONS)
    sys.modules[PACKAGE] = module_from_spec(spec)  # its own code does not run
    try:
        return import_module(FUNCTIONS)
    finally:
        del sys.modules[PACKAGE]  # whoever imports it after this gets the whole of it


llama_cpp: Any = _functions()
