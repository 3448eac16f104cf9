#!/usr/bin/env python3
"""Writes blocks.txt beside itself: blocks as ggml's own Python package encodes and decodes them.

    pip install numpy gguf && python3 blocks.py

Lines: "block NAME HEX" (32 f32, little endian), then for each format
"FORMAT NAME BYTES VALUES" (the encoded block; the 32 f32 that ggml restores from it). For the
formats it only decodes: "FORMAT bytes BYTES VALUES", random bytes with scales of plausible size.
"""
import pathlib
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize

random = np.random.default_rng(2026)
normal = random.standard_normal(32)
spike = 0.01 * random.standard_normal(32)
spike[19] = -3.0
ties = (np.arange(32) - 16) / 2.0
ties[0] = -127.0
BLOCKS = {
    "normal": 0.05 * normal,
    "large": 30000.0 * normal,
    "tiny": 1e-6 * normal,
    "vanishing": 1e-9 * normal,
    "zeros": np.zeros(32),
    "constant": np.full(32, 0.3),
    "negative": np.full(32, -0.7),
    "spike": spike,
    "ramp": np.arange(32) / 31.0,
    "ties": ties,
    "opposite": np.tile([0.9, -0.9], 16),
    "powers": (-0.5) ** np.arange(32),
    "uniform": random.uniform(-1, 1, 32),
    "offset": 5.0 + 0.01 * random.uniform(-1, 1, 32),
}
lines = []
for name, values in BLOCKS.items():
    block = values.astype("<f4").reshape(1, 32)
    lines.append(f"block {name} {block.tobytes().hex()}")
    for kind in (Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0):
        coded = quantize(block, kind)
        back = dequantize(coded, kind).astype("<f4")
        lines.append(f"{kind.name.lower()} {name} {coded.tobytes().hex()} {back.tobytes().hex()}")
READ = {  # Where the f16 numbers stand.
    Type.IQ4_NL: (18, [0]),
    Type.Q2_K: (84, [80, 82]),
    Type.Q3_K: (110, [108]),
    Type.Q4_K: (144, [0, 2]),
    Type.Q5_K: (176, [0, 2]),
    Type.Q6_K: (210, [208]),
    Type.IQ4_XS: (136, [0]),
    Type.MXFP4: (17, []),
}
for kind, (size, numbers) in READ.items():
    for scale in (0.01, -0.37, 1e-6):
        block = random.integers(0, 256, (1, size), dtype=np.uint8)
        for at in numbers:
            number = np.array([scale * random.uniform(0.5, 1.0)], dtype="<f2")
            block[0, at : at + 2] = number.view(np.uint8)
        if kind == Type.MXFP4:
            block[0, 0] = {0.01: 120, -0.37: 1, 1e-6: 250}[scale]
        back = dequantize(block, kind).astype("<f4")
        lines.append(f"{kind.name.lower()} bytes {block.tobytes().hex()} {back.tobytes().hex()}")
pathlib.Path(__file__).with_name("blocks.txt").write_text("\n".join(lines) + "\n")
