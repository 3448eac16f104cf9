#!/usr/bin/env python3
"""Writes small weight files as PyTorch and ONNX write them, and what they hold.

    pip install torch numpy onnx && python3 make.py

zip.pth and legacy.pth hold the same dictionary in both layouts of torch.save: every dtype,
transposed, sliced, shared and empty tensors, a parameter, nested dictionaries. evil.pth names a
function to call. inside.onnx has its values in the graph, outside.onnx in outside.data.
expected.json: name -> [shape, values].
"""
import collections
import json
import os
import pathlib
import numpy as np
import onnx
import torch
from onnx import TensorProto, external_data_helper, helper, numpy_helper

here = pathlib.Path(__file__).parent
torch.manual_seed(1)
base = torch.randn(6, 4)
wide = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
state = collections.OrderedDict()
state["plain.weight"] = base
state["shared.weight"] = base
state["rows.weight"] = base[1:3]
state["transposed.weight"] = base.t()
state["steps.weight"] = wide[:, ::2, 1:3]
state["last.weight"] = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
state["half"] = torch.tensor([0.5, -2.0, 65504.0]).half()
state["brain"] = torch.tensor([0.5, -2.0, 3.0e38]).bfloat16()
state["double"] = torch.tensor([0.1, -2.5], dtype=torch.float64)
state["scalar"] = torch.tensor(2.5)
state["empty"] = torch.zeros(0, 3)
state["parameter"] = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
state["count"] = torch.tensor(7)
state["bytes"] = torch.tensor([1, 255], dtype=torch.uint8)
whole = {"state_dict": state, "epoch": 3, "loss": 0.5, "name": "tiny", "shape": torch.Size([2, 3])}
torch.save(whole, here / "zip.pth")
torch.save(whole, here / "legacy.pth", _use_new_zipfile_serialization=False)


class Evil:
    def __reduce__(self):
        return os.system, ("echo executed",)


torch.save({"weight": base, "evil": Evil()}, here / "evil.pth")
floats = {name: t for name, t in state.items() if t.dtype.is_floating_point}
expected = {
    name: [list(t.shape), t.detach().float().reshape(-1).tolist()] for name, t in floats.items()
}

arrays = {
    "matrix": np.arange(6, dtype=np.float32).reshape(2, 3) / 7,
    "half": np.array([0.5, -2], dtype=np.float16),
    "double": np.array([0.25, 3], dtype=np.float64),
    "codes": np.array([-3, 100], dtype=np.int8),
    "index": np.array([5, -1], dtype=np.int64),
}
listed = [numpy_helper.from_array(a, n) for n, a in arrays.items()]
listed.append(helper.make_tensor("typed", TensorProto.FLOAT, [2, 2], [1.0, -2.0, 3.5, 4.0]))
listed.append(helper.make_tensor("brain", TensorProto.BFLOAT16, [2], [1.5, -2.0]))
y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
node = helper.make_node("Identity", ["matrix"], ["y"])
model = helper.make_model(helper.make_graph([node], "tiny", [], [y], initializer=listed))
onnx.save(model, here / "inside.onnx")
external_data_helper.convert_model_to_external_data(
    model, location="outside.data", size_threshold=0, all_tensors_to_one_file=True
)
onnx.save(model, here / "outside.onnx")
graph = {
    n: [list(a.shape), a.astype(np.float32).reshape(-1).tolist()]
    for n, a in arrays.items()
    if a.dtype.kind == "f"
}
graph["typed"] = [[2, 2], [1.0, -2.0, 3.5, 4.0]]
graph["brain"] = [[2], [1.5, -2.0]]
(here / "expected.json").write_text(json.dumps({"torch": expected, "onnx": graph}) + "\n")
