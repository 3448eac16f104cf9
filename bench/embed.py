#!/usr/bin/env python3
"""Sentences per second end to end (text in, normalised vectors out), one thread, Kvant against
ONNX Runtime f32, in turns so that the machine's drift cancels.

usage: embed.py KVANT_BINARY MODEL_DIR ONNX_DIR [ROUNDS]

Prints one JSON line per text length: medians, the ratio (above 1: Kvant is faster), and the lowest
cosine between the two engines' vectors.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

SENTENCE = "few bits instead of many a bounded error and a fast dot product on the machine at hand "
SETS = {"short": (16, 2048), "medium": (64, 512), "long": (256, 128)}
BATCH = 32


def texts(tokens, count):
    """`count` different texts of about `tokens` tokens, special tokens included."""
    words = (SENTENCE * 20).split()
    return [" ".join(words[i % 17 : i % 17 + tokens - 3]) + f" {i % 97}" for i in range(count)]


def onnx(folder):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(folder / "onnx" / "model.onnx"), options,
                                   providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]

    def embed(batch):
        encoded = tokenizer.encode_batch(batch)
        ids = np.array([e.ids for e in encoded], dtype=np.int64)
        mask = np.array([e.attention_mask for e in encoded], dtype=np.int64)
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = session.run(None, {k: v for k, v in feed.items() if k in names})[0]
        weight = mask[:, :, None].astype(np.float32)
        pooled = (hidden * weight).sum(1) / weight.sum(1)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    def run(all_texts):
        start = time.perf_counter()
        out = [embed(all_texts[i : i + BATCH]) for i in range(0, len(all_texts), BATCH)]
        return len(all_texts) / (time.perf_counter() - start), np.concatenate(out)

    return run


def kvant(binary, model):
    def run(all_texts):
        with tempfile.TemporaryDirectory() as folder:
            source, out = pathlib.Path(folder, "t.txt"), pathlib.Path(folder, "v.npy")
            source.write_text("\n".join(all_texts) + "\n")
            command = [binary, "embed", "--model", model, "--from", source, "-o", out,
                       "--threads", "1", "--json"]
            done = subprocess.run(command, check=True, capture_output=True)
            return json.loads(done.stdout)["texts_per_s"], np.load(out)

    return run


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    binary, model, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 5
    ours, peer = kvant(binary, model), onnx(folder)
    for name, (tokens, count) in SETS.items():
        batch = texts(tokens, count)
        ours(batch), peer(batch)
        pairs = [(ours(batch), peer(batch)) for _ in range(rounds)]
        a, b = pairs[0][0][1], pairs[0][1][1]
        print(json.dumps({
            "set": name, "texts": count, "model": pathlib.Path(model).name,
            "kvant_per_s": round(statistics.median(p[0][0] for p in pairs), 1),
            "onnxruntime_f32_per_s": round(statistics.median(p[1][0] for p in pairs), 1),
            "ratio": round(statistics.median(p[0][0] / p[1][0] for p in pairs), 3),
            "cosine_min": round(float((a * b).sum(1).min()), 6),
        }), flush=True)


main()
