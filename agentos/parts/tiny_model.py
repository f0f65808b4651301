"""A tiny model for first runs and tests: a real GGUF file for llama.cpp, with random weights.

It speaks nonsense, but it goes the whole way: tokens, slots, streams, usage. Its first dimension is the same for
every token and steers what comes out: words rather than bytes, and an end after some twenty of them.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from gguf import GGUFWriter, TokenType

LAYERS = 2
WIDTH = 64
HEADS = 4
FEED_FORWARD = 2  # times the width
CONTEXT = 4096
SEED = 20240607
# Weights of the first dimension in the output, by kind of token.
STEER_WORD, STEER_BYTE, STEER_END = 1.0, -2.0, 1.3

_SPECIAL = [("<unk>", TokenType.UNKNOWN), ("<s>", TokenType.CONTROL), ("</s>", TokenType.CONTROL)]
# With the special tokens and the 256 bytes they make 320.
_WORDS = """
    ▁ ▁the ▁a ▁of ▁and ▁to ▁in ▁is ▁it ▁you ▁that ▁for ▁on ▁with ▁as ▁are ▁be ▁at ▁this ▁have ▁from ▁or ▁one ▁had
    ▁by ▁word ▁but ▁not ▁what ▁all ▁were ▁we ▁when ▁your ▁can ▁said ▁there ▁use ▁an ▁each ▁which ▁she ▁do ▁how
    ▁their ▁if ▁will ▁up ▁other ▁about ▁out ▁many ▁then ▁them ▁these ▁so ▁some ▁her ▁would ▁make ▁like
""".split()  # noqa: SIM905 - a list of sixty lines would not read better
_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def write_tiny_model(path: Path, *, layers: int = LAYERS, width: int = WIDTH) -> None:
    """Writes the model to `path`, whole or not at all; the same bytes every time. Raises `OSError`.

    With more `layers`, and a greater `width` (a multiple of 64), it computes as long for each token as larger ones.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    writer = GGUFWriter(unfinished, "llama")
    try:
        _describe(writer, layers, width)
        _add_tokens(writer)
        _add_weights(writer, layers, width)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _describe(writer: GGUFWriter, layers: int, width: int) -> None:
    writer.add_name("AgentOS tiny random model")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(FEED_FORWARD * width)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // HEADS)
    writer.add_chat_template(_CHAT_TEMPLATE)


def _add_tokens(writer: GGUFWriter) -> None:
    tokens = [
        *_SPECIAL,
        *((f"<0x{byte:02X}>", TokenType.BYTE) for byte in range(256)),
        *((word, TokenType.NORMAL) for word in _WORDS),
    ]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text for text, _ in tokens])
    writer.add_token_scores([-float(number) for number in range(len(tokens))])
    writer.add_token_types([kind for _, kind in tokens])
    writer.add_vocab_size(len(tokens))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


def _add_weights(writer: GGUFWriter, layers: int, width: int) -> None:
    random = np.random.default_rng(SEED)

    def add(name: str, weights: np.ndarray) -> None:
        writer.add_tensor(f"{name}.weight", weights.astype(np.float32))

    def matrix(rows: int, columns: int) -> np.ndarray:
        return random.normal(0, 0.1, (rows, columns))

    vocabulary = len(_SPECIAL) + 256 + len(_WORDS)
    embedding, output = matrix(vocabulary, width), matrix(vocabulary, width)
    embedding[:, 0] = 3.0
    output[:, 0] = [STEER_BYTE, STEER_BYTE, STEER_END, *[STEER_BYTE] * 256, *[STEER_WORD] * len(_WORDS)]
    add("token_embd", embedding)
    for layer in range(layers):
        block = f"blk.{layer}"
        for norm in ("attn_norm", "ffn_norm"):
            add(f"{block}.{norm}", np.ones(width))
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"{block}.{part}", matrix(width, width))
        add(f"{block}.ffn_gate", matrix(FEED_FORWARD * width, width))
        add(f"{block}.ffn_up", matrix(FEED_FORWARD * width, width))
        add(f"{block}.ffn_down", matrix(width, FEED_FORWARD * width))
    add("output_norm", np.ones(width))
    add("output", output)
