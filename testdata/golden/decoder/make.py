"""Writes expected.json: tokens and logits of SmolLM2-135M-Instruct, Q4_1.

The weights come out of the file through the gguf package; the tokenizer is byte-level BPE and the
network is Llama, both written here from the papers (Radford et al. 2019; Touvron et al. 2023),
in double precision and without any line of Kvant.

    python -m venv env && env/bin/pip install gguf numpy regex
    env/bin/python make.py SmolLM2-135M-Instruct.Q4_1.gguf wikitext2-valid.txt
"""

import json
import sys
from pathlib import Path

import numpy as np
import regex
from gguf import GGUFReader, dequantize

TEXTS = [
    "The lobster is a crustacean.",
    "Hello, world!  Two spaces,\ttab,\nnewline\n\n\nand three.",
    "fn main() {\n    let x: Vec<u32> = vec![1, 2, 34567];\n    println!(\"{x:?}\");\n}\n",
    "Größe, naïve café, Ελληνικά, русский, 日本語のテキスト, 🙂👩‍👩‍👧 ½ ² ٣",
    "<|im_start|>user\nWhat's 12345 + 67890? I'd say they'll've 80235.<|im_end|>\n",
    "I'M SHOUTING don't DON'T we'Re 1st 2nd   trailing   ",
    " leading",
    "a\r\nb\u00a0c\u200bd\u2028e\u3000f",
    "",
]
LOGITS_OF = 2
TOP = 8
# Perplexity: windows and tokens of a window, as llama-perplexity cuts them.
CHUNKS = 2
CONTEXT = 512


def bytes_to_signs():
    """The printable sign GPT-2 writes for each byte."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    signs = {byte: chr(byte) for byte in plain}
    rest = [byte for byte in range(256) if byte not in signs]
    return signs | {byte: chr(256 + at) for at, byte in enumerate(rest)}


SIGNS = bytes_to_signs()
WORDS = regex.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)


class Tokenizer:
    def __init__(self, reader):
        field = lambda name: reader.fields[f"tokenizer.ggml.{name}"].contents()
        tokens, kinds = field("tokens"), field("token_type")
        self.ids = {token: at for at, token in enumerate(tokens)}
        self.ranks = {tuple(pair.split(" ")): at for at, pair in enumerate(field("merges"))}
        special = [token for token, kind in zip(tokens, kinds) if kind == 3]
        self.special = regex.compile("(" + "|".join(map(regex.escape, special)) + ")")

    def encode(self, text):
        out = []
        for at, part in enumerate(self.special.split(text)):
            if at % 2 == 1:
                out.append(self.ids[part])
            elif part:
                # smollm: every digit stands alone, then the words of GPT-2 within each part.
                for piece in regex.findall(r"\p{N}|\P{N}+", part):
                    for word in WORDS.findall(piece):
                        out += self.word(word)
        return out

    def word(self, word):
        parts = [SIGNS[byte] for byte in word.encode()]
        while len(parts) > 1:
            ranks = [self.ranks.get(pair, 1 << 30) for pair in zip(parts, parts[1:])]
            best = min(ranks)
            if best == 1 << 30:
                break
            pair, merged, at = None, [], 0
            pair = next(p for p in zip(parts, parts[1:]) if self.ranks.get(p) == best)
            while at < len(parts):
                if tuple(parts[at : at + 2]) == pair:
                    merged.append(parts[at] + parts[at + 1])
                    at += 2
                else:
                    merged.append(parts[at])
                    at += 1
            parts = merged
        return [self.ids[part] for part in parts]


class Llama:
    def __init__(self, reader):
        value = lambda name: reader.fields[f"llama.{name}"].contents()
        self.layers = value("block_count")
        self.heads = value("attention.head_count")
        self.groups = value("attention.head_count_kv")
        self.theta = value("rope.freq_base")
        self.eps = value("attention.layer_norm_rms_epsilon")
        self.weights = {
            tensor.name: dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
            for tensor in reader.tensors
        }

    def norm(self, x, name):
        scale = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + self.eps)
        return x * scale * self.weights[name]

    def rotate(self, x):
        """Pairs of neighbours, as GGUF stores the rows of Llama."""
        tokens, _, width = x.shape
        angles = np.outer(np.arange(tokens), self.theta ** (-np.arange(0, width, 2) / width))
        turned = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angles)[:, None, :]
        return np.stack([turned.real, turned.imag], axis=-1).reshape(x.shape)

    def logits(self, tokens):
        x = self.weights["token_embd.weight"][tokens]
        mask = np.triu(np.full((len(tokens), len(tokens)), -np.inf), 1)
        for layer in range(self.layers):
            w = lambda name: self.weights[f"blk.{layer}.{name}.weight"]
            normed = self.norm(x, f"blk.{layer}.attn_norm.weight")
            split = lambda y, heads: y.reshape(len(tokens), heads, -1)
            q = self.rotate(split(normed @ w("attn_q").T, self.heads))
            k = self.rotate(split(normed @ w("attn_k").T, self.groups))
            v = split(normed @ w("attn_v").T, self.groups)
            k, v = (np.repeat(y, self.heads // self.groups, axis=1) for y in (k, v))
            scores = np.einsum("thd,shd->hts", q, k) / np.sqrt(q.shape[-1]) + mask
            scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
            scores /= scores.sum(axis=-1, keepdims=True)
            x = x + np.einsum("hts,shd->thd", scores, v).reshape(x.shape) @ w("attn_output").T
            normed = self.norm(x, f"blk.{layer}.ffn_norm.weight")
            gate = normed @ w("ffn_gate").T
            x = x + (gate / (1 + np.exp(-gate)) * (normed @ w("ffn_up").T)) @ w("ffn_down").T
        return self.norm(x, "output_norm.weight") @ self.weights["token_embd.weight"].T


def losses(logits, tokens):
    """Minus the logarithm of the probability of every token after the first."""
    log = logits - logits.max(axis=-1, keepdims=True)
    log -= np.log(np.exp(log).sum(axis=-1, keepdims=True))
    return [-float(log[at, tokens[at + 1]]) for at in range(len(tokens) - 1)]


def perplexity(tokenizer, network, text):
    tokens = tokenizer.encode(text)
    scored = []
    for start in range(0, CHUNKS * CONTEXT, CONTEXT):
        window = tokens[start : start + CONTEXT]
        scored += losses(network.logits(window), window)[CONTEXT // 2 :]
    mean, spread = np.mean(scored), np.std(scored, ddof=1) / np.sqrt(len(scored))
    value = float(np.exp(mean))
    return {"value": round(value, 6), "error": round(value * float(spread), 6)}


def main():
    reader = GGUFReader(sys.argv[1])
    tokenizer, network = Tokenizer(reader), Llama(reader)
    texts = [{"text": text, "tokens": tokenizer.encode(text)} for text in TEXTS]
    logits = network.logits(texts[LOGITS_OF]["tokens"])
    rows = []
    for position in sorted({0, 1, len(logits) // 2, len(logits) - 1}):
        row = logits[position]
        top = np.argsort(-row)[:TOP]
        shifted = row - row.max()
        rows.append({
            "position": position,
            "top": [int(at) for at in top],
            "values": [round(float(row[at]), 6) for at in top],
            "mean": round(float(row.mean()), 6),
            "log_sum": round(float(row.max() + np.log(np.exp(shifted).sum())), 6),
        })
    tokens = texts[LOGITS_OF]["tokens"]
    text = Path(sys.argv[2]).read_text()
    expected = {
        "texts": texts,
        "logits_of": LOGITS_OF,
        "logits": rows,
        "loss": round(float(np.mean(losses(logits, tokens))), 7),
        "perplexity": perplexity(tokenizer, network, text),
    }
    text = json.dumps(expected, ensure_ascii=False, indent=1) + "\n"
    Path(__file__).with_name("expected.json").write_text(text)


main()
