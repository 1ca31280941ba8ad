"""Have the engine leave off in the middle of a computation."""

import ctypes

import llama_cpp


class Abort:
    """For one context; what it computes when it is called ends with an error in its thread.

    llama.cpp asks at every node of its graph, on the thread that computes: libc's atoi answers it
    from a buffer, as Python's interpreter lock would cost more than the answer.
    """

    def __init__(self, context: llama_cpp.llama_context_p) -> None:
        self._answer = ctypes.create_string_buffer(b"0")
        asked = ctypes.cast(ctypes.CDLL(None).atoi, llama_cpp.ggml_abort_callback)
        self._asked = asked  # kept alive as long as the context may ask
        llama_cpp.llama_set_abort_callback(context, asked, ctypes.addressof(self._answer))

    def __call__(self) -> None:
        self._answer.value = b"1"

    def reset(self) -> None:
        """Let it compute again."""
        self._answer.value = b"0"
