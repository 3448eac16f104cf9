#!/usr/bin/env python3
"""The demo's corpus: a fixed sample of 10,000 WordNet glosses, as Kvant's import and eval read them.

usage: wordnet.py WORDNET_DIR OUT_DIR

WORDNET_DIR holds data.noun, data.verb, data.adj, data.adv (Debian package wordnet-base, below
usr/share/wordnet). Writes
  corpus.jsonl     {"id", "text", "words", "kind"}: the definition, without its usage examples
  retrieval.jsonl  the same documents, and 500 queries {"query", "relevant"}: the words of a synset
                   must find its definition (a reverse dictionary; relevance is exact by structure)
"""
import json
import pathlib
import sys

KINDS = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective", "r": "adverb"}
DOCUMENTS, QUERIES = 10_000, 500


def synsets(folder):
    for name in ("noun", "verb", "adj", "adv"):
        for line in open(folder / f"data.{name}", encoding="utf-8"):
            if line.startswith("  "):  # the licence at the head of each file
                continue
            fields, gloss = line.split(" | ", 1)
            fields = fields.split(" ")
            count = int(fields[3], 16)
            words = [w.replace("_", " ").split("(")[0] for w in fields[4 : 4 + 2 * count : 2]]
            definition = gloss.strip().split('; "')[0].strip()
            yield {"id": fields[2] + fields[0], "text": definition, "words": words,
                   "kind": KINDS[fields[2]]}


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    every = list(synsets(folder))
    sample = [every[i * len(every) // DOCUMENTS] for i in range(DOCUMENTS)]
    with open(out / "corpus.jsonl", "w", encoding="utf-8") as corpus, \
            open(out / "retrieval.jsonl", "w", encoding="utf-8") as retrieval:
        for document in sample:
            corpus.write(json.dumps(document, ensure_ascii=False) + "\n")
            pair = {"id": document["id"], "text": document["text"]}
            retrieval.write(json.dumps(pair, ensure_ascii=False) + "\n")
        for i in range(QUERIES):
            document = sample[i * DOCUMENTS // QUERIES]
            query = {"query": ", ".join(document["words"]), "relevant": [document["id"]]}
            retrieval.write(json.dumps(query, ensure_ascii=False) + "\n")


main()
