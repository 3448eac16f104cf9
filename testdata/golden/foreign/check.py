#!/usr/bin/env python3
"""What Kvant writes for other programs, read by those programs.

usage: check.py FOLDER

FOLDER is what the tests of crates/model/tests/container.rs leave behind when KVANT_FOREIGN_OUT
names it. Every matrix must decode to the very values that Kvant decodes it to; the real model must
embed texts as Kvant does (cosine 0.99999 or more).

compressed-tensors and bitsandbytes decode by their own code, and load the real model through
transformers. GPTQ and AWQ are decoded here by their documented layout.
"""
import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import load_file

LEAST = 0.99999
LEAST_BF16 = 0.9999


def compressed_tensors(config, tensors):
    from compressed_tensors.compressors.naive_quantized import IntQuantizationCompressor
    from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationConfig
    from compressed_tensors.utils.match import match_name

    schemes = QuantizationConfig.model_validate(config).config_groups.values()
    found = {}
    for name in tensors:
        if not name.endswith(".weight_scale"):
            continue
        module = name.removesuffix(".weight_scale")
        matching = [
            scheme
            for scheme in schemes
            if any(target in ("Linear", "Embedding") or match_name(module, target) for target in scheme.targets)
        ]
        assert len(matching) == 1, f"{module} is in {len(matching)} groups"
        parts = {key.removeprefix(module + "."): value for key, value in tensors.items() if key.startswith(module + ".")}
        parts["weight_scale"] = parts["weight_scale"].float()
        packed = "weight_packed" in parts
        compressor = PackedQuantizationCompressor if packed else IntQuantizationCompressor
        found[f"{module}.weight"] = compressor.decompress(parts, matching[0])["weight"]
    return found


def bitsandbytes(config, tensors):
    import bitsandbytes.functional as F

    found = {}
    for name, value in tensors.items():
        if not name.endswith(".weight") or f"{name}.quant_map" not in tensors:
            continue
        parts = {key: part.clone() for key, part in tensors.items() if key.startswith(name + ".")}
        state = F.QuantState.from_dict(parts, torch.device("cpu"))
        found[name] = F.dequantize_4bit(value, state)
    return found


def unpack(words, bits, count):
    """Rows of words as rows of codes: one stream, low bits first."""
    places = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, bitorder="little")
    places = places[:, : count * bits].reshape(words.shape[0], count, bits)
    return (places << np.arange(bits)).sum(-1)


def gptq(config, tensors):
    found = {}
    for name, words in tensors.items():
        if not name.endswith(".qweight"):
            continue
        base = name.removesuffix("qweight")
        index = tensors[base + "g_idx"].numpy()
        scales = tensors[base + "scales"].float().numpy()
        bits = words.shape[0] * 32 // len(index)
        zeros = unpack(tensors[base + "qzeros"].numpy(), bits, scales.shape[1])
        if config["checkpoint_format"] == "gptq":
            zeros = (zeros + 1) % 2**bits
        module = base.removesuffix(".")
        rules = {rule.removeprefix("+:"): value for rule, value in config.get("dynamic", {}).items()}
        said = rules.get("^" + module.replace(".", "\\.") + "$", config)
        assert said["bits"] == bits, f"{name} has {bits} bits"
        assert (index == np.arange(len(index)) // said["group_size"]).all(), name
        codes = unpack(words.numpy().T, bits, len(index))
        weights = scales[index].T * (codes - zeros[index].T).astype(np.float32)
        found[base + "weight"] = torch.from_numpy(weights)
    return found


def awq(config, tensors):
    order = [0, 4, 1, 5, 2, 6, 3, 7]

    def codes(words):
        places = words.numpy().view(np.uint32)[..., None] >> (4 * np.arange(8, dtype=np.uint32)) & 15
        return places[..., order].reshape(words.shape[0], -1).astype(np.float32)

    found = {}
    for name, words in tensors.items():
        if not name.endswith(".qweight"):
            continue
        base = name.removesuffix("qweight")
        spread = lambda table: np.repeat(table, config["group_size"], axis=0)
        scales = spread(tensors[base + "scales"].float().numpy())
        zeros = spread(codes(tensors[base + "qzeros"]))
        found[base + "weight"] = torch.from_numpy(((codes(words) - zeros) * scales).T.copy())
    return found


READERS = {"compressed-tensors": compressed_tensors, "bitsandbytes": bitsandbytes, "gptq": gptq, "awq": awq}


def decode(folder):
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    tensors = load_file(folder / "model.safetensors")
    found = READERS[config["quant_method"]](config, tensors)
    plain = load_file(folder.with_name(folder.name + ".plain") / "model.safetensors")
    assert len(found) == 3, f"{folder.name}: {sorted(found)}"
    for name, values in found.items():
        same = values.dtype == torch.float32 and torch.equal(values, plain[name])
        assert same, f"{folder.name} {name}: {(values.float() - plain[name]).abs().max()}"
    print(f"{folder.name}: {len(found)} matrices, bit for bit")


def embed(folder):
    from transformers import AutoModel, AutoTokenizer

    expected = json.loads((folder / "expected.vectors").read_text())
    vectors = torch.tensor(expected["vectors"]).view(len(expected["texts"]), -1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    batch = tokenizer(expected["texts"], padding=True, return_tensors="pt")

    def run(how, least):
        with torch.no_grad():
            states = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        pooled = (states * mask).sum(1) / mask.sum(1)
        cosine = torch.nn.functional.cosine_similarity(pooled, vectors).min().item()
        assert cosine >= least, f"{folder.name}: cosine {cosine}"
        print(f"{folder.name}: transformers {how} as Kvant does, cosine {cosine:.7f}")

    # The kernel of bitsandbytes for processors multiplies in bf16; its values are checked above.
    run("embeds", LEAST_BF16 if "bnb" in folder.name else LEAST)


def main(place):
    torch.set_num_threads(1)
    folders = sorted(folder for folder in place.iterdir() if (folder / "config.json").exists())
    written = [folder for folder in folders if folder.name != "source" and folder.suffix != ".plain"]
    for folder in written:
        if not folder.name.startswith("minilm-"):
            decode(folder)
        elif folder.name.startswith(("minilm-compressed-tensors", "minilm-bnb")):
            embed(folder)
        else:
            print(f"{folder.name}: SKIPPED, GPTQModel is not part of this check")
    assert len(written) > 10, f"only {len(written)} directories in {place}"


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
