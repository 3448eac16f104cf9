#!/usr/bin/env python3
"""Writes the directories beside it: small matrices as other quantizers store them, and their values.

compressed-tensors and bitsandbytes are written and restored by the packages themselves. GPTQ and
AWQ files are packed here by their documented layout (GPTQModel, AutoAWQ "gemm") with numpy, and
restored by the formula of that layout.

Made with torch 2.15.0, compressed-tensors 0.20.0, bitsandbytes 0.50.2, safetensors 0.8.0.
"""
import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
torch.manual_seed(7)


def folder(name, quantization, tensors, expected, beside=None):
    place = HERE / name
    place.mkdir(exist_ok=True)
    config = {"architectures": ["Toy"]}
    if quantization is not None:
        config["quantization_config"] = quantization
    (place / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    if beside is not None:
        (place / "quantize_config.json").write_text(json.dumps(beside, indent=1) + "\n")
    contiguous = lambda table: {key: value.contiguous() for key, value in table.items()}
    save_file(contiguous(tensors), place / "model.safetensors")
    save_file(contiguous(expected), place / "expected.safetensors")


def compressed_tensors():
    from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor
    from compressed_tensors.compressors.naive_quantized import IntQuantizationCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    cases = {
        "sym4": (dict(num_bits=4, strategy="group", group_size=32), torch.float32),
        "sym3": (dict(num_bits=3, strategy="channel"), torch.float32),
        "sym4half": (dict(num_bits=4, strategy="group", group_size=32), torch.bfloat16),
        "affine4": (dict(num_bits=4, strategy="group", group_size=64, symmetric=False), torch.float32),
        "affine5": (dict(num_bits=5, strategy="channel", symmetric=False), torch.float32),
        "sym8": (dict(num_bits=8, strategy="group", group_size=48), torch.float16),
        "sym2tensor": (dict(num_bits=2, strategy="tensor"), torch.float32),
        "bytes": (dict(num_bits=8, strategy="channel"), torch.float32),
        "byteszero": (dict(num_bits=8, strategy="channel", symmetric=False), torch.float32),
        "bytesgroup": (dict(num_bits=8, strategy="group", group_size=32), torch.bfloat16),
    }
    groups, tensors, expected = {}, {}, {}
    for name, (args, dtype) in cases.items():
        args = QuantizationArgs(type="int", **args)
        scheme = QuantizationScheme(targets=[f"re:.*{name}$"], weights=args)
        weight = torch.randn(19, 192 if name != "sym3" else 75).to(dtype)
        span = {"group": args.group_size, "channel": weight.shape[1]}.get(args.strategy, weight.numel())
        rows = weight.float().reshape(-1, span)
        low, high = rows.amin(1).clamp(max=0), rows.amax(1).clamp(min=0)
        top = 2**args.num_bits - 1
        if args.symmetric:
            scale, zero = torch.maximum(-low, high) * 2 / top, None
        else:
            scale = (high - low) / top
            zero = (torch.round(-low / scale) - 2 ** (args.num_bits - 1)).to(torch.int8)
        shape = (1,) if args.strategy == "tensor" else (19, -1)
        state = {"weight": weight, "weight_scale": scale.to(dtype).reshape(shape)}
        if zero is not None:
            state["weight_zero_point"] = zero.reshape(shape)
        whole = name.startswith("bytes")
        compressor = IntQuantizationCompressor if whole else PackedQuantizationCompressor
        stored = compressor.compress(state, scheme)
        restored = compressor.decompress(dict(stored), scheme)
        tensors |= {f"{name}.{key}": value for key, value in stored.items()}
        expected[f"{name}.weight"] = restored["weight"]
        group = json.loads(scheme.model_dump_json())
        group["format"] = "int-quantized" if whole else "pack-quantized"
        groups[f"group_{len(groups)}"] = group
    folder(
        "compressed-tensors",
        {
            "quant_method": "compressed-tensors", "format": "mixed-precision",
            "quantization_status": "compressed", "ignore": [], "config_groups": groups,
        },
        tensors,
        expected,
    )


def bitsandbytes():
    import bitsandbytes.functional as F

    tensors, expected = {}, {}
    cases = {
        "nf4": dict(quant_type="nf4", blocksize=64),
        "nf4double": dict(quant_type="nf4", blocksize=64, compress_statistics=True),
        "fp4": dict(quant_type="fp4", blocksize=64),
        "fp4double": dict(quant_type="fp4", blocksize=128, compress_statistics=True),
    }
    for name, options in cases.items():
        # Blocks run over row ends, and the nested ones over 256 of them where there are.
        weight = torch.randn(19 if name != "nf4double" else 190, 96)
        packed, state = F.quantize_4bit(weight, **options)
        tensors[f"{name}.weight"] = packed
        for key, value in state.as_dict(packed=True).items():
            tensors[f"{name}.weight.{key}"] = value
        # Restored as one row: given rows that are no whole blocks, the CPU kernel of 0.50 starts
        # a block anew where the quantizer (and the CUDA kernel) runs on.
        state.shape = torch.Size((1, weight.numel()))
        expected[f"{name}.weight"] = F.dequantize_4bit(packed, state).view(weight.shape)
    folder(
        "bitsandbytes",
        {
            "quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": False,
            "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True,
            "bnb_4bit_quant_storage": "uint8",
        },
        tensors,
        expected,
    )
    weight = torch.randn(19, 96)
    codes, scales, _ = F.int8_vectorwise_quant(weight.half())
    folder(
        "bitsandbytes8",
        {"quant_method": "bitsandbytes", "load_in_4bit": False, "load_in_8bit": True},
        {"a.weight": codes, "a.SCB": scales.float(), "a.weight_format": torch.tensor(0, dtype=torch.uint8)},
        {"a.weight": F.int8_vectorwise_dequant(codes, scales.float())},
    )


def stream(codes, bits):
    """Rows of codes as rows of 32-bit words, low bits first, without gaps."""
    rows, count = codes.shape
    places = (codes[..., None].astype(np.int64) >> np.arange(bits)) & 1
    places = places.reshape(rows, count * bits)
    places = np.pad(places, ((0, 0), (0, -places.shape[1] % 32)))
    return np.packbits(places.astype(np.uint8), axis=1, bitorder="little").view("<i4")


def gptq(name, bits, group, version, symmetric, ordered=False, beside=False):
    rng = np.random.default_rng(bits * 100 + group)
    rows, cols = 64, 96
    groups = cols // group
    codes = rng.integers(0, 2**bits, (rows, cols))
    zeros = rng.integers(0, 2**bits, (groups, rows))
    zeros[0, 0] = 0
    if symmetric:
        zeros[:] = 2 ** (bits - 1)
    scales = rng.uniform(0.001, 0.01, (groups, rows)).astype(np.float16)
    index = np.arange(cols) // group
    if ordered:
        rng.shuffle(index)
    stored = (zeros - 1) % 2**bits if version == 1 else zeros
    exact = lambda table: torch.from_numpy(np.ascontiguousarray(table))
    tensors = {
        "a.qweight": exact(stream(codes, bits).T),
        "a.qzeros": exact(stream(stored, bits)),
        "a.scales": exact(scales),
        "a.g_idx": exact(index.astype(np.int32)),
        "a.bias": torch.zeros(rows, dtype=torch.float16),
    }
    zero, scale = zeros[index].T.astype(np.float32), scales[index].T.astype(np.float32)
    weights = scale * (codes.astype(np.float32) - zero)
    settings = {
        "quant_method": "gptq", "bits": bits, "group_size": group, "sym": symmetric,
        "desc_act": ordered, "checkpoint_format": "gptq" if version == 1 else "gptq_v2",
    }
    if beside:
        del settings["quant_method"], settings["checkpoint_format"]
    expected = {"a.weight": exact(weights), "a.bias": tensors["a.bias"]}
    folder(name, None if beside else settings, tensors, expected, settings if beside else None)


def awq():
    rng = np.random.default_rng(4)
    rows, cols, group = 64, 96, 32
    codes = rng.integers(0, 16, (rows, cols))
    zeros = rng.integers(0, 16, (cols // group, rows))
    scales = rng.uniform(0.001, 0.01, (cols // group, rows)).astype(np.float16)

    def words(table):
        order = [0, 2, 4, 6, 1, 3, 5, 7]
        table = table.reshape(table.shape[0], -1, 8)[..., order].astype(np.uint32)
        return (table << (4 * np.arange(8, dtype=np.uint32))).sum(-1, dtype=np.uint32).view(np.int32)

    exact = lambda table: torch.from_numpy(np.ascontiguousarray(table))
    tensors = {"a.qweight": exact(words(codes.T)), "a.qzeros": exact(words(zeros)), "a.scales": exact(scales)}
    spread = lambda table: np.repeat(table.astype(np.float32), group, axis=0).T
    weights = spread(scales) * (codes.astype(np.float32) - spread(zeros))
    settings = {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True, "version": "gemm"}
    folder("awq", settings, tensors, {"a.weight": exact(weights.astype(np.float32))})


if __name__ == "__main__":
    only = sys.argv[1:]
    for make in (compressed_tensors, bitsandbytes, awq):
        if not only or make.__name__ in only:
            make()
    if not only or "gptq" in only:
        gptq("gptq-sym4", 4, 32, 1, True)
        gptq("gptq-affine4", 4, 32, 1, False)
        gptq("gptq-affine8-v2", 8, 96, 2, False)
        gptq("gptq-affine3-v2", 3, 48, 2, False)
        gptq("gptq-affine2", 2, 32, 1, False, beside=True)
        gptq("gptq-ordered", 4, 32, 2, False, ordered=True)
