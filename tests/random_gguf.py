"""A real model, tiny and random, whose vocabulary is the 256 bytes."""

import struct

import numpy as np

VOCAB = 259
"""Odd, so that rows are padded."""
WIDTH, HIDDEN, TRAINED = 32, 64, 64


def tiny_model(
    seed: int,
    noise: float = 0,
    bos: bool = True,
    end: str = "</s>",
    template: str | None = None,
) -> bytes:
    """A GGUF file of one Llama layer with random weights, its vocabulary the 256 bytes.

    Args:
        template: its chat template.
    """
    random, more = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    tokens = ["<unk>", "<s>", end, *(f"<0x{byte:02X}>" for byte in range(256))]
    text = lambda value: struct.pack("<Q", len(value)) + value.encode()  # noqa: E731
    number = lambda value: struct.pack("<II", 4, value)  # noqa: E731
    array = lambda kind, items: struct.pack("<IIQ", 9, kind, VOCAB) + b"".join(items)  # noqa: E731
    fields = {
        "general.architecture": struct.pack("<I", 8) + text("llama"),
        "llama.context_length": number(TRAINED),
        "llama.embedding_length": number(WIDTH),
        "llama.block_count": number(1),
        "llama.feed_forward_length": number(HIDDEN),
        "llama.attention.head_count": number(2),
        "llama.attention.layer_norm_rms_epsilon": struct.pack("<If", 6, 1e-5),
        "tokenizer.ggml.model": struct.pack("<I", 8) + text("llama"),
        "tokenizer.ggml.tokens": array(8, map(text, tokens)),
        "tokenizer.ggml.scores": array(6, [struct.pack("<f", 0)] * VOCAB),
        "tokenizer.ggml.token_type": array(
            5, [struct.pack("<i", kind) for kind in [2, 3, 3] + [6] * 256]
        ),
        "tokenizer.ggml.bos_token_id": number(1),
        "tokenizer.ggml.add_bos_token": struct.pack("<I?", 7, bos),
    }
    if template is not None:
        fields["tokenizer.chat_template"] = struct.pack("<I", 8) + text(template)
    square = (WIDTH, WIDTH)
    shapes = {
        "token_embd": (VOCAB, WIDTH),
        "output": (VOCAB, WIDTH),
        "output_norm": (WIDTH,),
        "blk.0.attn_norm": (WIDTH,),
        "blk.0.ffn_norm": (WIDTH,),
        **{f"blk.0.attn_{part}": square for part in ("q", "k", "v", "output")},
        "blk.0.ffn_gate": (HIDDEN, WIDTH),
        "blk.0.ffn_up": (HIDDEN, WIDTH),
        "blk.0.ffn_down": (WIDTH, HIDDEN),
    }
    header = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(fields))
    header += b"".join(text(key) + value for key, value in fields.items())
    data = b""
    for name, shape in shapes.items():
        header += text(f"{name}.weight") + struct.pack("<I", len(shape))
        header += struct.pack(f"<{len(shape)}Q", *reversed(shape)) + struct.pack(
            "<IQ", 0, len(data)
        )
        weights = random.normal(0, 0.4, shape) + noise * more.normal(0, 0.4, shape)
        data += weights.astype("<f4").tobytes()
    return header + bytes(-len(header) % 32) + data
