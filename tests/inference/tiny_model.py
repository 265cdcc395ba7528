"""A llama of half a megabyte with random weights: a few dozen lines that write a GGUF file, the same for a seed.

It has read nothing and understands nothing; what it says is noise. Where a server decodes by a schema, the noise has
the shape of tool calls. The layout is llama.cpp's: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, tensor
names from https://github.com/ggml-org/llama.cpp/blob/master/gguf-py/gguf/constants.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

WIDTH, LAYERS, HEADS, CONTEXT = 64, 2, 4, 16_384
#: How freely it rambles: the spread of its logits.
SPREAD = 0.9
CALL, CALL_END, TURN, TURN_END = "<tool_call>\n", "</tool_call>", "<|im_start|>", "<|im_end|>"
#: One token each, so that a call takes few.
WORDS = ('{"name": "', '", "arguments": ', "propose_", '"reason":"', '"pool":"', '"job":"', '"change":"', '"workers":')
#: Tokens that it likes more than others, in logits: texts and numbers that come to an end, calls that are followed by
#: others now and then.
LIKED = {'"': 5.0, "}": 4.0, ",": 2.0, "]": 4.0, TURN_END: 0.5, CALL: 3.0, " ": -5.0}
LIKED |= dict.fromkeys(WORDS, 3.0)
BYTE_BIAS = -8.0  # raw bytes: control characters, and UTF-8 that is none

#: Tool calls as Hermes 2 Pro writes them. The prompt is next to nothing: a random model learns nothing from more.
TEMPLATE = """\
{%- if tools %}<|im_start|>system
<tools>{% for tool in tools %}{{ tool.function.name }} {% endfor %}</tools>
For each call return <tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ (message.content or '')[:64] }}
{%- if message.tool_calls %}{% for call in message.tool_calls %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}{% endif %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def vocabulary() -> list[tuple[str, gguf.TokenType]]:
    """Every byte, every printable character, and the marks of turns and calls."""
    kind = gguf.TokenType
    tokens = [("<unk>", kind.UNKNOWN), ("<s>", kind.CONTROL), ("</s>", kind.CONTROL)]
    tokens += [(f"<0x{byte:02X}>", kind.BYTE) for byte in range(256)]
    tokens += [("\N{LOWER ONE EIGHTH BLOCK}", kind.NORMAL)]  # a space, as sentencepiece writes it
    tokens += [(chr(code), kind.NORMAL) for code in range(33, 127)]
    tokens += [(mark, kind.CONTROL) for mark in (TURN, TURN_END)]
    return tokens + [(mark, kind.USER_DEFINED) for mark in (CALL, CALL_END, *WORDS)]


def write_model(path: Path, seed: int) -> None:
    """Raises OSError."""
    tokens = vocabulary()
    names = [name for name, _ in tokens]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"noise-{seed}")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([name.encode() for name in names])
    writer.add_token_scores([-1.0 if kind is gguf.TokenType.NORMAL else 0.0 for _, kind in tokens])
    writer.add_token_types([int(kind) for _, kind in tokens])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_eot_token_id(names.index(TURN_END))
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)
    for name, tensor in weights(names, np.random.default_rng(seed)).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def weights(names: list[str], rng: np.random.Generator) -> dict[str, Any]:
    """Noise, but for the first dimension: every embedding sets it, no layer writes to it, so that after the last
    normalisation it is about sqrt(WIDTH), and the output's first column is a bias of each token."""

    def noise(*shape: int, scale: float = 0.02) -> Any:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    embedding, output = noise(len(names), WIDTH), noise(len(names), WIDTH, scale=SPREAD / np.sqrt(WIDTH))
    embedding[:, 0] = 0.3
    output[:, 0] = [_bias(name) / np.sqrt(WIDTH) for name in names]
    found = {"token_embd.weight": embedding, "output_norm.weight": np.ones(WIDTH, np.float32), "output.weight": output}
    for layer in range(LAYERS):
        into = {"attn_output": noise(WIDTH, WIDTH), "ffn_down": noise(WIDTH, 2 * WIDTH)}
        for matrix in into.values():
            matrix[0] = 0
        parts = {
            **{f"{name}_norm": np.ones(WIDTH, np.float32) for name in ("attn", "ffn")},
            **{f"attn_{name}": noise(WIDTH, WIDTH) for name in "qkv"},
            **{f"ffn_{name}": noise(2 * WIDTH, WIDTH) for name in ("gate", "up")},
            **into,
        }
        found |= {f"blk.{layer}.{name}.weight": tensor for name, tensor in parts.items()}
    return found


def _bias(name: str) -> float:
    if name.startswith("<0x"):
        return BYTE_BIAS
    return LIKED.get(" " if name == "\N{LOWER ONE EIGHTH BLOCK}" else name, 0.0)
