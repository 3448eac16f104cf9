#!/usr/bin/env python3
"""Decodes GGUF files with ggml's own Python package and with Kvant, and compares bit for bit.

usage: block.py KVANT FOLDER FILE.gguf ...

Kvant decodes by `kvant convert FILE -o X.gguf --dtype f32`, which keeps names and order, into
FOLDER. Every coded tensor counts, of every type in the file; none may differ in a single bit.
"""
import collections
import pathlib
import subprocess
import sys

import numpy as np
from gguf import GGUFReader, dequantize

PLAIN = ("F32", "F16", "BF16")


def compare(kvant, folder, path):
    decoded = folder / f"{path.stem}-decoded.gguf"
    decoded.unlink(missing_ok=True)
    command = [kvant, "convert", path, "-o", decoded, "--dtype", "f32"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    ours = {tensor.name: tensor for tensor in GGUFReader(decoded).tensors}
    counts, values = collections.Counter(), 0
    for tensor in GGUFReader(path).tensors:
        kind = tensor.tensor_type.name
        expected = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        other = ours[tensor.name]
        assert other.tensor_type.name == "F32", f"{path.name} {tensor.name}: {other.tensor_type}"
        found = np.asarray(other.data).reshape(expected.shape)
        same = np.array_equal(found.view(np.uint32), expected.view(np.uint32))
        assert same, f"{path.name} {tensor.name} ({kind}): {np.abs(found - expected).max()} apart"
        if kind not in PLAIN:
            counts[kind] += 1
            values += expected.size
    decoded.unlink()
    assert counts, f"{path.name} has no coded tensor"
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    print(f"{path.name}: {kinds}; {values:,} weights, bit for bit as ggml's package decodes them")


def main(kvant, folder, *paths):
    assert paths, "no files"
    for path in paths:
        compare(kvant, pathlib.Path(folder), pathlib.Path(path))


if __name__ == "__main__":
    main(*sys.argv[1:])
