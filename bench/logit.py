#!/usr/bin/env python3
"""Runs our GGUF files with llama.cpp (llama-cpp-python) and compares the logits with ours.

usage: logit.py KVANT TEXT PLAIN.gguf CODED.gguf ...

PLAIN holds F32 weights, the CODED files are the same model with quantized matrices. Both programs
cut TEXT into tokens and run the first 256; ours leaves its logits by `kvant perplexity --logits`,
computed in f32.

What may differ:

- PLAIN: both compute in f32, in another order (llama.cpp's cache of keys and values is asked for
  in f32, its default is f16). 30 layers of sums of 576 to 1536 products leave about 1e-5 of a
  logit, logits reach 30: 1e-3 for the farthest of 12.5 million.
- CODED: llama.cpp rounds the inputs of a coded matrix to 8 bits in blocks (32 or 256 with one
  scale), ours are f32. Normal numbers in blocks of 32 lose 0.0047 of their norm: a largest of
  2.07 σ, 127 steps, and the error of a step is 1/√12 of it. Outliers in a block make this
  several times larger, and the errors of seven matrices in each of 30 layers add up in the
  residual stream, partly cancelled. The bound is 5 % of the spread of the logits and a divergence
  of 0.01 nats a token. A code, a scale or a row in a wrong place costs over 100 %. That the bound
  is no formality is asserted too: of all the files, llama.cpp is closest to ours of the same one
  (4-bit files are 30 to 40 % apart).
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from llama_cpp import Llama

TOKENS = 256
F32_CACHE = 0
FARTHEST_PLAIN = 1e-3
SPREAD_CODED = 0.05
DIVERGENCE_CODED = 0.01


def ours(kvant, text, path):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "logits.npy"
        command = [kvant, "perplexity", path, "--text", text, "--context", str(TOKENS)]
        command += ["--chunks", "1", "--compute", "f32", "--logits", out]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return np.load(out)


def theirs(text, path):
    model = Llama(
        model_path=str(path), n_ctx=TOKENS, n_batch=TOKENS, n_ubatch=TOKENS, logits_all=True,
        n_gpu_layers=0, type_k=F32_CACHE, type_v=F32_CACHE, verbose=False,
    )
    tokens = model.tokenize(pathlib.Path(text).read_bytes(), add_bos=True, special=True)
    assert len(tokens) >= TOKENS, f"{text} has {len(tokens)} tokens only"
    model.eval(tokens[:TOKENS])
    return model.scores[:TOKENS].copy()


def log_probabilities(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def spread(a, b):
    """Root mean square difference over the spread of `a`.

    The mean of a position's logits is taken out: it changes no probability.
    """
    centred = [logits - logits.mean(-1, keepdims=True) for logits in (a, b)]
    return np.linalg.norm(centred[0] - centred[1]) / np.linalg.norm(centred[0])


def check(path, expected, found):
    """Holds what Kvant `found` to what llama.cpp says, by path; returns the farthest logit."""
    own = found[path]
    assert own.shape == expected.shape == (TOKENS, own.shape[1]), (own.shape, expected.shape)
    farthest = np.abs(expected - own).max()
    apart = {other: spread(expected, logits) for other, logits in found.items()}
    p, q = log_probabilities(expected.astype(np.float64)), log_probabilities(own.astype(np.float64))
    divergence = (np.exp(p) * (p - q)).sum(-1).mean()
    same = (expected.argmax(-1) == own.argmax(-1)).mean()
    others = min(value for other, value in apart.items() if other != path)
    print(
        f"{path.name}: {TOKENS} tokens, farthest logit {farthest:.1e}, {apart[path]:.1e} of the spread "
        f"(next file {others:.1e}), divergence {divergence:.1e}, same top token {same:.3f}",
        flush=True,
    )
    assert apart[path] <= SPREAD_CODED, f"{path.name}: over {SPREAD_CODED}"
    assert divergence <= DIVERGENCE_CODED, f"{path.name}: over {DIVERGENCE_CODED}"
    assert apart[path] < others, f"{path.name}: another file's logits are as close"
    return farthest


def main(kvant, text, plain, *coded):
    assert coded, "no coded files"
    paths = [pathlib.Path(path) for path in (plain, *coded)]
    found = {path: ours(kvant, text, path) for path in paths}
    for path in paths:
        farthest = check(path, theirs(text, path), found)
        assert path != paths[0] or farthest <= FARTHEST_PLAIN, f"{path.name}: over {FARTHEST_PLAIN}"


if __name__ == "__main__":
    main(*sys.argv[1:])
