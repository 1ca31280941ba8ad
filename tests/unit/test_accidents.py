"""What is an accident, by what dying processes say."""

import errno
import os
from pathlib import Path

import pytest

from llmpi.accidents import AccidentError, accident, supervise
from llmpi.engine.supervise import Death

CLOSED = ("EROFS", "EIO", "EACCES", "EPERM", "ESTALE", "EMFILE", "ENFILE")
ACCIDENTS = {
    "memory did not suffice": [
        "raise MemoryError",
        "import numpy; numpy.ones(1 << 50)",
        "raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))",
        "raise RuntimeError('[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: "
        "can\\'t allocate memory: you tried to allocate 1 bytes.')",
        "sys.exit('ggml_aligned_malloc: insufficient memory (attempted to allocate 1 MB)\\n"
        "llama.cpp cannot load Q4_0.gguf')",
        "print('terminate called after throwing an instance of \\'std::bad_alloc\\'', "
        "file=sys.stderr); sys.stderr.flush(); os.abort()",
        # As the quantizer ends where it cannot start its threads.
        "print('terminate called without an active exception', file=sys.stderr);"
        "sys.stderr.flush(); os.abort()",
        "raise SystemError('error return without exception set')",
        "os.kill(os.getpid(), signal.SIGKILL)",
        # As OpenBLAS ends where it cannot make its threads.
        "print('OpenBLAS blas_thread_init: pthread_create failed for thread 1 of 2: Resource "
        "temporarily unavailable', file=sys.stderr); sys.stderr.flush();"
        "signal.signal(signal.SIGINT, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGINT)",
    ],
    "disk is full": [
        "raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'x')",
        "raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))",
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1)); open('x', 'w', 1).write('xx\\n')",
        "open('/dev/full', 'w', 1).write('x\\n')",
        "os.kill(os.getpid(), signal.SIGBUS)",
        # As Python ends where it looks for a folder to write to.
        "raise FileNotFoundError(errno.ENOENT, 'No usable temporary directory found in [...]')",
    ],
    "could not be opened, read or written": [
        *(f"raise OSError(errno.{e}, os.strerror(errno.{e}), 'x')" for e in CLOSED),
        "sys.exit('llama_model_load: error loading model: failed to open F16.gguf: Permission "
        "denied')",
    ],
    "ended it": [
        "os.kill(os.getpid(), signal.SIGTERM)",
        # Whoever runs this may be under nohup.
        "signal.signal(signal.SIGHUP, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGHUP)",
    ],
}
OWN = [
    "os.kill(os.getpid(), signal.SIGSEGV)",
    "os.abort()",
    "sys.exit('llama.cpp cannot load Q4_0.gguf')",
    "sys.exit('gguf_init: encountered bad_alloc error while reading value for key')",
    "print('llama_model_loader: - kv 0: general.name str = Out of memory', file=sys.stderr);"
    "sys.exit('unknown model architecture')",
]


def ended(code: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> object:
    (tmp_path / "child.py").write_text(f"import errno, os, resource, signal, sys\n{code}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return supervise("child", {}, writes=dict, log=lambda _: None)


@pytest.mark.parametrize(
    ("words", "code"), [(words, code) for words, codes in ACCIDENTS.items() for code in codes]
)
def test_an_accident_is_an_error(words: str, code: str, tmp_path, monkeypatch) -> None:
    with pytest.raises(AccidentError, match=words) as caught:
        ended(code, tmp_path, monkeypatch)
    assert str(caught.value).endswith("un again.")


@pytest.mark.parametrize("code", OWN)
def test_what_it_would_die_of_again_is_a_death(code: str, tmp_path, monkeypatch) -> None:
    assert isinstance(ended(code, tmp_path, monkeypatch), Death)


def test_no_folder_to_write_to_has_its_words_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the project's disk is the machine's, and full: Python finds no temporary folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: [str(tmp_path / "gone")])
    with pytest.raises(FileNotFoundError) as none:
        supervise("child", {}, writes=dict, log=lambda _: None)
    told = str(accident(none.value))
    assert "the disk is full" in told and f"GB in {tmp_path}" in told


def test_exceptions_of_the_job_itself() -> None:
    full, closed = (OSError(e, os.strerror(e), "results/x") for e in (errno.ENOSPC, errno.EACCES))
    for error in (MemoryError(), full, closed):
        assert isinstance(accident(error), AccidentError)
    assert accident(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "x")) is None
