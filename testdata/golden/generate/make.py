"""Writes expected.json: what llama.cpp makes of SmolLM2-135M-Instruct, Q4_1.

Twice: `exact`, the weights decoded to f32 and everything computed in f32, which a right decoder must
meet to rounding; and `stored`, the file as it is, where llama.cpp rounds activations to 8 bits.
For each: the tokens of a text, at every position the largest logits and the logarithm of the sum
of their exponentials, and ten greedy continuations with the lead of each choice over the second.

    python -m venv env && env/bin/pip install llama-cpp-python numpy
    env/bin/python make.py SmolLM2-135M-Instruct.Q4_1.gguf
"""

import json
import sys
import tempfile
from pathlib import Path

import llama_cpp
import numpy as np

TEXT = """It was the best of times, it was the worst of times, it was the age of wisdom, it was \
the age of foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the \
season of Light, it was the season of Darkness, it was the spring of hope, it was the winter of \
despair, we had everything before us, we had nothing before us, we were all going direct to \
Heaven, we were all going direct the other way.

Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in my \
purse, and nothing particular to interest me on shore, I thought I would sail about a little and \
see the watery part of the world. It is a way I have of driving off the spleen and regulating the \
circulation.

Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing \
to do: once or twice she had peeped into the book her sister was reading, but it had no pictures \
or conversations in it, "and what is the use of a book," thought Alice, "without pictures or \
conversations?"
"""
PROMPTS = [
    "The capital of France is",
    "Once upon a time, there was a little",
    "Water boils at a temperature of",
    "def fibonacci(n):\n",
    "The three primary colors are",
    "<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nName five animals.<|im_end|>\n<|im_start|>assistant\n",
    "In 1969, the first human",
    "To make bread you need flour,",
    "<|im_start|>user\nWrite a short poem about the sea.<|im_end|>\n<|im_start|>assistant\n",
]
TOP = 6
NEW = 64


def decoded(source, out):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = llama_cpp.LLAMA_FTYPE_ALL_F32
    params.allow_requantize = True
    if llama_cpp.llama_model_quantize(source.encode(), out.encode(), params) != 0:
        sys.exit("cannot decode the weights")


def load(path, context):
    f32 = llama_cpp.GGML_TYPE_F32
    return llama_cpp.Llama(
        path, n_ctx=context, n_batch=context, n_threads=1, n_threads_batch=1, logits_all=True,
        verbose=False, type_k=f32, type_v=f32, flash_attn=False,
    )


def position(row):
    row = row.astype(np.float64)
    order = np.argsort(-row, kind="stable")[:TOP]
    most = row.max()
    return {
        "top": order.tolist(),
        "values": [round(float(row[token]), 5) for token in order],
        "log_sum": round(float(most + np.log(np.exp(row - most).sum())), 5),
    }


def greedy(model, prompt):
    tokens = model.tokenize(prompt.encode(), add_bos=False, special=True)
    model.reset()
    model.eval(tokens)
    made, leads = [], []
    for _ in range(NEW):
        row = model.scores[model.n_tokens - 1]
        first, second = np.argsort(-row, kind="stable")[:2]
        made.append(int(first))
        leads.append(round(float(row[first] - row[second]), 4))
        model.eval([int(first)])
    return {"prompt": prompt, "tokens": tokens, "made": made, "leads": leads}


def answers(path):
    model = load(path, 512)
    tokens = model.tokenize(TEXT.encode(), add_bos=False, special=True)
    model.eval(tokens)
    rows = [position(model.scores[at]) for at in range(len(tokens))]
    return {"positions": rows, "greedy": [greedy(model, prompt) for prompt in PROMPTS]}, tokens


def main():
    source = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        exact = str(Path(folder) / "f32.gguf")
        decoded(source, exact)
        exact, tokens = answers(exact)
    stored, _ = answers(source)
    found = {"made_with": f"llama-cpp-python {llama_cpp.__version__}", "text": TEXT,
             "tokens": tokens, "exact": exact, "stored": stored}
    text = json.dumps(found, separators=(",", ":"), ensure_ascii=False)
    text = text.replace('{"top"', '\n{"top"').replace('{"prompt"', '\n{"prompt"')
    (Path(__file__).parent / "expected.json").write_text(text + "\n")


main()
