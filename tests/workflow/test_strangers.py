"""What Snakemake says of a config of somebody else's that it could read itself."""

from pathlib import Path

import pytest
from support import run_snakemake

CONFIG = """\
study: demo
models:
  m1: {source: {hub: acme/tiny, file: tiny.gguf}}
quants: [F16]
devices:
  here: {transport: local}
workloads:
  chat: {prompt_tokens: 128, output_tokens: 64}
"""
ALIASES = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "\n".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)
)


@pytest.mark.parametrize(
    ("more", "lock", "said"),
    [
        (ALIASES, "", "config.yaml:14: more than 200,000 values, its aliases written out"),
        ("x: 010", "", "config.yaml:9: 010 would be read as 8"),
        ('"\\e]0;owned\\a": 5', "", "config.yaml:9: \\u001b]0;owned\\u0007: unknown key"),
        ("", "a: &a [*a]", "sources.lock.yaml: this is no lock file of llmpi"),
    ],
    ids=["aliases", "octal", "a title for the terminal", "a damaged lock"],
)
def test_words(more: str, lock: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG + more)
    (tmp_path / "sources.lock.yaml").write_text(lock)
    done = run_snakemake("-n", "--configfile", "config.yaml", cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert said in done.stdout
    assert "Traceback" not in done.stdout
    assert "\x1b]" not in done.stdout
