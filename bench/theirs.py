#!/usr/bin/env python3
"""Lets compressed-tensors and bitsandbytes quantize the real model, and Kvant run what they wrote.

usage: theirs.py KVANT MODEL FOLDER

MODEL is a directory of all-MiniLM-L6-v2 in f32. Both packages write through transformers'
`save_pretrained`. Kvant must embed the texts as transformers does with the same weights, in f32:
cosine 0.99999 or more.
"""
import json
import pathlib
import shutil
import subprocess
import sys

import torch
from transformers import AutoModel, AutoTokenizer, BitsAndBytesConfig

LEAST = 0.99999
TEXTS = [
    "Call me Ishmael.",
    "a whale",
    "Some years ago, having little money in my purse, I thought I would sail about a little.",
    "Nothing is lost that was not spent, and what was spent is written down here.",
]


def compressed_tensors(source, bits, group):
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (
        QuantizationArgs, QuantizationConfig, QuantizationScheme, QuantizationStatus,
        apply_quantization_config,
    )
    from compressed_tensors.quantization.utils import calculate_qparams

    model = AutoModel.from_pretrained(source, dtype=torch.float32).eval()
    strategy = dict(strategy="group", group_size=group) if group else dict(strategy="channel")
    args = QuantizationArgs(num_bits=bits, type="int", symmetric=True, **strategy)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    kind = "pack-quantized" if group else "int-quantized"
    config = QuantizationConfig(config_groups={"all": scheme}, ignore=["pooler.dense"], format=kind)
    apply_quantization_config(model, config)
    for module in model.modules():
        if not hasattr(module, "weight_scale"):
            continue
        rows = module.weight.detach().view(module.weight.shape[0], -1, group or module.weight.shape[1])
        scale, _ = calculate_qparams(rows.amin(-1), rows.amax(-1), args)
        module.weight_scale.data.copy_(scale)
        module.quantization_status = QuantizationStatus.FROZEN
    with torch.no_grad():
        yield model
        compressor = ModelCompressor.from_pretrained_model(model)
        compressor.compress_model(model)
    yield model
    yield compressor.update_config


def bitsandbytes(source):
    import bitsandbytes

    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32, llm_int8_skip_modules=["pooler"],
    )
    model = AutoModel.from_pretrained(source, quantization_config=config, device_map="cpu").eval()
    # Its kernel for processors multiplies in bf16, so its weights run in a plain copy.
    plain = AutoModel.from_pretrained(source, dtype=torch.float32).eval()
    restored = 0
    for name, module in model.named_modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            weight = module.weight
            values = bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state)
            plain.get_submodule(name).weight.data.copy_(values)
            restored += 1
    assert restored == 36, restored
    yield plain
    yield model
    yield lambda folder: None


def vectors(model, tokenizer):
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    return (states * mask).sum(1) / mask.sum(1)


def check(kvant, source, folder, steps):
    tokenizer = AutoTokenizer.from_pretrained(source)
    expected = vectors(next(steps), tokenizer)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    next(steps).save_pretrained(folder)
    next(steps)(folder)
    method = json.loads((folder / "config.json").read_text())["quantization_config"]["quant_method"]
    command = [kvant, "embed", "--model", folder, *TEXTS]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = torch.tensor([json.loads(line) for line in lines.splitlines()])
    cosine = torch.nn.functional.cosine_similarity(found, expected).min().item()
    assert cosine >= LEAST, f"{folder.name}: cosine {cosine}"
    plain = AutoModel.from_pretrained(source, dtype=torch.float32).eval()
    apart = torch.nn.functional.cosine_similarity(vectors(plain, tokenizer), expected).min().item()
    assert apart < LEAST, f"{folder.name}: quantization changed nothing, so this proves nothing"
    print(f"{folder.name}: Kvant embeds what {method} wrote, cosine {cosine:.7f} (to f32 {apart:.4f})")


def main(kvant, source, folder):
    torch.set_num_threads(1)
    source, folder = pathlib.Path(source), pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    check(kvant, source, folder / "compressed-tensors-4", compressed_tensors(source, 4, 32))
    check(kvant, source, folder / "compressed-tensors-8", compressed_tensors(source, 8, 0))
    check(kvant, source, folder / "bitsandbytes", bitsandbytes(source))


if __name__ == "__main__":
    main(*sys.argv[1:])
