"""llama-cpp-python's server with a model, counted, on loopback, in a process of its own.

`python small_service.py GGUF PORT`, with the project's sources on the path.
"""

import sys

import uvicorn
from llama_cpp.server.app import create_app
from llama_cpp.server.settings import ModelSettings, ServerSettings

from llmpi.device.service.request_metrics import instrument


def main(gguf: str, port: int) -> None:
    model = ModelSettings(
        model=gguf, n_ctx=1024, n_batch=512, n_threads=1, n_threads_batch=1, verbose=False
    )
    app = create_app(server_settings=ServerSettings(), model_settings=[model])
    counted = instrument(app, model="smollm2-135m", quant="F16", release="test")
    uvicorn.run(counted, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
