#!/usr/bin/env python3
"""Reads a GGUF file with ggml's own Python package and compares it with its source.

    pip install gguf numpy safetensors
    kvant convert DIR -o x.gguf && python3 bench/container.py DIR x.gguf
    kvant convert a.gguf -o dir && kvant convert dir -o b.gguf && python3 bench/container.py a.gguf b.gguf

A directory is compared by the names gguf gives its tensors (rows of llama's query and key are in
another order and left out); a GGUF file tensor by tensor, type and bytes, and key by key. Exits
with 1 if anything differs.
"""
import pathlib
import sys

import numpy as np
from gguf import GGUFReader
from gguf.constants import MODEL_ARCH
from gguf.tensor_mapping import get_tensor_name_map
from safetensors.numpy import load_file

LEFT_OUT = ("pooler.", "embeddings.position_ids")


def fields(reader):
    return {name: field.contents() for name, field in reader.fields.items()}


def against_directory(folder, reader):
    name = fields(reader)["general.architecture"]
    layers = fields(reader)[f"{name}.block_count"]
    names = get_tensor_name_map(MODEL_ARCH[name.upper()], layers)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    for original, values in load_file(folder / "model.safetensors").items():
        if original.startswith(LEFT_OUT):
            continue
        found = names.get_name(original, try_suffixes=(".weight", ".bias"))
        if name == "llama" and found.endswith(("attn_q.weight", "attn_k.weight")):
            continue
        same = found in tensors and np.array_equal(tensors[found].data, values.astype(np.float32))
        yield original, same


def against_file(path, reader):
    before, after = GGUFReader(path), {tensor.name: tensor for tensor in reader.tensors}
    for tensor in before.tensors:
        other = after.get(tensor.name)
        same = other is not None and tensor.tensor_type == other.tensor_type
        yield tensor.name, same and np.array_equal(tensor.data, other.data)
    old, new = fields(before), fields(reader)
    for key in old:
        # What a directory does not say: who made the model, and under which licence.
        if not key.startswith(("GGUF.", "general.")):
            yield key, new.get(key) == old[key]


source, reader = pathlib.Path(sys.argv[1]), GGUFReader(sys.argv[2])
compare = against_directory if source.is_dir() else against_file
results = list(compare(source, reader))
differing = [name for name, same in results if not same]
print(f"{len(results)} compared, {len(differing)} differ", *differing[:10])
sys.exit(bool(differing) or not results)
