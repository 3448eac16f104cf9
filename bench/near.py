#!/usr/bin/env python3
"""Nearest neighbours: Kvant and its peers in turns, each engine in a process of its own.

usage: near.py DATASET [--ours SPEC;SPEC] [--peers NAME,NAME] [--rounds 3] [--nq 1000] [--k 10]
               [--reps 3] [--build-threads 2] [--threads 1,2] [--cores 0,1] [--filters 0.01,0.1,0.5,near,far]
               [--kvant BINARY] [--runners DIR] [--out results.jsonl]
       near.py --table results.jsonl

DATASET is a folder as ../shared/bench/ann makes them: base.npy, queries.npy, gt.npy, meta.json. Peers are
those of run_peers.py there (its --list names them). Every round runs every engine once, every second round
in the opposite order, so that the machine's drift meets all alike; tables show medians over the rounds and
ratios to the first of ours, taken round by round.

Builds run on all --cores with --build-threads, single queries and batches of one thread on the first core,
batches of more on as many. Filters are shares of the rows, drawn at random, and near and far: a tenth of the
rows, nearest to and farthest from a group of queries, which alone are then asked. Masks are made before; those of
below0.01 and the like, whole numbers of a column that must lie below one, for every query within its time, one query a
call. Recall is computed here.
Memory is what is no page of a file, after 10,000 queries, less what there was before the build."""
import argparse
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

LEVELS = (0.9, 0.95, 0.99, 0.999)
EF = [10, 16, 32, 64, 128, 256, 512, 1024]
PROBES = [1, 2, 4, 8, 16, 32, 64, 128, 256]
GROUP = 200
SEARCHES = 10_000


def load(folder, nq, k):
    import numpy as np

    base = np.ascontiguousarray(np.load(folder / "base.npy"), np.float32)
    queries = np.ascontiguousarray(np.load(folder / "queries.npy")[:nq], np.float32)
    truth = np.load(folder / "gt.npy")[:nq, :k].astype(np.int32)
    meta = json.loads((folder / "meta.json").read_text())
    return base, queries, truth, meta


def distances(rows, queries, metric):
    """Lower is closer; squared where the measure is l2."""
    products = queries @ rows.T
    if metric == "l2":
        return (rows * rows).sum(1) - 2 * products
    return -products


def nearest(rows, queries, metric, k, mask):
    """The true neighbours among the rows of a mask, -1 where there are fewer."""
    import numpy as np

    ids = np.flatnonzero(mask)
    out = np.full((len(queries), k), -1, np.int32)
    for start in range(0, len(queries), 256):
        part = distances(rows[ids], queries[start : start + 256], metric)
        best = np.argsort(part, 1, kind="stable")[:, :k]
        out[start : start + len(best), : best.shape[1]] = ids[best]
    return out


def recall(found, truth):
    shares = []
    for a, b in zip(found, truth):
        wanted = set(b[b >= 0].tolist())
        shares.append(len(wanted & set(a.tolist())) / len(wanted) if wanted else 1.0)
    return float(sum(shares) / len(shares))


def filters(names, base, queries, metric):
    """Name, mask and which queries are asked."""
    import numpy as np

    draw = np.random.default_rng(7).random(len(base))
    every = np.arange(len(queries))
    group = np.argsort(distances(queries, queries[:1], metric)[0])[: min(GROUP, len(queries))]
    order = np.argsort(distances(base, queries[group].mean(0, keepdims=True), metric)[0])
    tenth = len(base) // 10
    for name in names:
        if name.startswith("below"):
            yield name, column(base) < bound(name), every
            continue
        mask = np.zeros(len(base), bool)
        if name in ("near", "far"):
            mask[order[:tenth] if name == "near" else order[-tenth:]] = True
            yield name, mask, group
        else:
            yield name, draw < float(name), every


def column(base):
    """A number below 10,000 for each row, as an attribute would be."""
    import numpy as np

    return np.random.default_rng(8).integers(0, 10_000, len(base), dtype=np.int32)


def bound(name):
    return int(10_000 * float(name.removeprefix("below")))


def held():
    """Bytes of this process that are no pages of files, and locked ones."""
    total = 0
    for line in open("/proc/self/status"):
        if line.startswith(("RssAnon:", "VmLck:")):
            total += int(line.split()[1]) * 1024
    return total


def hold(cores):
    """Every thread of this process on these cores."""
    for task in os.listdir("/proc/self/task"):
        try:
            os.sched_setaffinity(int(task), cores)
        except OSError:
            pass


def timed(run, reps):
    times = []
    for _ in range(reps):
        start = time.perf_counter()
        found = run()
        times.append(time.perf_counter() - start)
    return statistics.median(times), found


def peer_classes(runners):
    spec = importlib.util.spec_from_file_location("run_peers", runners / "run_peers.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_peers"] = module
    spec.loader.exec_module(module)
    return module.PEERS


def filtered(args, peer, data):
    """What a peer that knows filters finds with each, and how fast."""
    import numpy as np

    base, queries, metric = data
    kind = getattr(peer, "kind", "hnsw")
    for name, mask, group in filters(args.filters, base, queries, metric):
        right = nearest(base, queries[group], metric, args.k, mask)
        peer.filt(mask)
        for param in [0] if kind == "flat" else PROBES if kind == "ivf" else EF:
            peer.fp = param
            if name.startswith("below"):
                numbers, below = column(base), bound(name)

                def asked_one(query):
                    peer.filt(numbers < below)
                    return peer.batchf(query[None], args.k)[0]

                wall, found = timed(lambda: [asked_one(query) for query in queries[group]], args.reps)
            else:
                wall, found = timed(lambda: peer.batchf(queries[group], args.k), args.reps)
            share = recall(np.asarray(found), right)
            yield {"mask": name, "param": param, "recall": share, "qps_batch": len(group) / wall}
            if share > 0.9995 or wall > 8:
                break


def work(args):
    """One peer, in this process: prints its results as one line of JSON."""
    import numpy as np

    base, queries, truth, meta = load(args.dataset, args.nq, args.k)
    metric, k = meta["metric"], args.k
    cls, options = peer_classes(args.runners)[args.worker]
    peer, before = cls(**options), held()
    hold(set(args.cores))
    start = time.perf_counter()
    peer.build(base, metric, args.build_threads)
    out = {"peer": args.worker, "build_s": time.perf_counter() - start, "points": [], "filter": []}
    try:
        out["size"] = peer.size()
    except Exception as error:
        print(args.worker, "size:", repr(error)[:120], file=sys.stderr)
    asked = 0
    for param in peer.params():
        peer.set(param)
        point = {"param": param, "batches": []}
        found = None
        for threads in args.threads:
            hold(set(args.cores[:threads]))
            peer.threads(threads)
            peer.batch(queries[:50], k)
            wall, found = timed(lambda: peer.batch(queries, k), args.reps)
            point["batches"].append({"threads": threads, "qps": len(queries) / wall})
            asked += len(queries) * args.reps
        hold({args.cores[0]})
        peer.threads(1)
        start = time.perf_counter()
        [peer.one(q, k) for q in queries[:3]]
        single = (time.perf_counter() - start) / 3
        count = min(len(queries), max(50, int(0.5 / single)))
        wall, _ = timed(lambda: [peer.one(q, k) for q in queries[:count]], args.reps)
        asked += count * args.reps
        point |= {"recall": recall(np.asarray(found), truth), "qps_one": count / wall}
        point["qps_batch"] = point["batches"][0]["qps"]
        out["points"].append(point)
        if point["recall"] > 0.9995 and not isinstance(param, (tuple, list)):
            break
    while asked < SEARCHES:
        peer.batch(queries, k)
        asked += len(queries)
    out["rss_delta"] = held() - before
    if hasattr(peer, "filt"):
        hold({args.cores[0]})
        try:
            out["filter"] += filtered(args, peer, (base, queries, metric))
        except Exception as error:  # What wraps an index need not take its filters.
            print(args.worker, "filters:", repr(error)[:120], file=sys.stderr)
    print("RESULT " + json.dumps(out), flush=True)


def run_peer(args, name):
    command = [sys.executable, __file__, str(args.dataset), "--worker", name, "--runners", str(args.runners)]
    for flag in ("nq", "k", "reps", "build_threads"):
        command += ["--" + flag.replace("_", "-"), str(getattr(args, flag))]
    for flag in ("threads", "cores", "filters"):
        command += ["--" + flag, ",".join(map(str, getattr(args, flag)))]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENBLAS")}
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[variable] = str(args.build_threads)
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    lines = [line[7:] for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        print(name, "failed:", done.stderr.strip()[-300:], file=sys.stderr)
        return None
    return json.loads(lines[0])


def run_ours(args, spec, data, folder):
    """One build for everything without a filter and for the filters that all queries share, one more for
    the filters of a group."""
    import numpy as np

    base, queries, truth, meta = data
    np.save(folder / "queries.npy", queries)
    np.save(folder / "truth.npy", truth)
    masks = list(filters(args.filters, base, queries, meta["metric"]))
    groups = {}
    for name, mask, group in masks:
        np.save(folder / f"{name}.npy", mask)
        kind = "below" if name.startswith("below") else name in ("near", "far")
        groups.setdefault(kind, (group, []))[1].append(name)
    np.save(folder / "column.npy", column(base))

    def bench(queries, more):
        command = [args.kvant, "bench", "ann", "--base", str(args.dataset / "base.npy")]
        command += ["--queries", str(queries), "--metric", meta["metric"], "--k", str(args.k)]
        command += ["--index", spec, "--build-threads", str(args.build_threads), "--reps", str(args.reps)]
        command += ["--pin", ",".join(map(str, args.cores)), "--out", str(folder / "out"), "--json"]
        done = subprocess.run(command + more, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr)
        lines = json.loads(done.stdout)
        for line in lines:
            line["found"] = np.load(folder / "out" / line["ids"])
        return lines

    threads = ",".join(map(str, args.threads))
    lines = bench(folder / "queries.npy", ["--threads", threads, "--ground-truth", str(folder / "truth.npy")])
    out = {"peer": "kvant " + spec, "points": [], "filter": []}
    for key in ("build_s", "size", "rss_delta", "bytes_per_vector_hot", "bytes_per_vector_rerank"):
        out[key] = lines[0][key]
    for line in lines:
        point = {key: line[key] for key in ("param", "qps_one", "qps_batch", "batches", "p50_ms", "p99_ms")}
        out["points"].append(point | {"recall": recall(line["found"], truth)})
    for kind, (group, names) in groups.items():
        np.save(folder / "group.npy", queries[group])
        if kind == "below":
            bounds = ",".join(str(bound(name)) for name in names)
            more = ["--filter-column", str(folder / "column.npy"), "--filter-below", bounds]
        else:
            more = [part for name in names for part in ("--filter-mask", str(folder / f"{name}.npy"))]
        for line in bench(folder / "group.npy", more):
            if kind == "below":
                line["mask"] = next(name for name in names if f"below {bound(name)}" == line["mask"])
                line["qps_batch"] = line["qps_one"]
            mask = next(mask for name, mask, _ in masks if name == line["mask"])
            right = nearest(base, queries[group], meta["metric"], args.k, mask)
            cell = {key: line[key] for key in ("mask", "param", "qps_one", "qps_batch")}
            out["filter"].append(cell | {"recall": recall(line["found"], right)})
    return out


def speed(points, level, key):
    """Queries a second at a recall, on a straight line in the logarithm between two settings."""
    import math

    front, best = [], 0
    for share, qps in sorted(((p["recall"], p.get(key) or 0) for p in points), reverse=True):
        if qps > best:
            front.append((share, qps))
            best = qps
    front.reverse()
    for at, (share, qps) in enumerate(front):
        if share >= level:
            if at == 0:
                return qps
            low, fast = front[at - 1]
            part = (level - low) / (share - low)
            return math.exp(math.log(fast) * (1 - part) + math.log(qps) * part)
    return None


def cells(run):
    """Every figure of a run that tables show."""
    out = {}
    for level in LEVELS:
        out[f"one@{level}"] = speed(run["points"], level, "qps_one")
        for at, batch in enumerate(run["points"][0]["batches"] if run["points"] else []):
            points = [{"recall": p["recall"], "qps": p["batches"][at]["qps"]} for p in run["points"]]
            out[f"batch{batch['threads']}@{level}"] = speed(points, level, "qps")
    for name in dict.fromkeys(cell["mask"] for cell in run["filter"]):
        points = [cell for cell in run["filter"] if cell["mask"] == name]
        out[f"filter {name}@0.95"] = speed(points, 0.95, "qps_batch")
    out["builds/s"] = 1 / run["build_s"]
    for key, over in (("size", "n"), ("rss_delta", "n")):
        out[f"{key}/row"] = run[key] / run[over] if run.get(key) is not None else None
    hot = run.get("bytes_per_vector_hot")
    out["hot/row"] = hot
    return {key: value for key, value in out.items() if value is not None}


def table(runs):
    """Medians over rounds, and in brackets the median of ours over theirs, round by round."""
    for dataset in dict.fromkeys(run["dataset"] for run in runs):
        mine = [run for run in runs if run["dataset"] == dataset]
        names = list(dict.fromkeys(run["peer"] for run in mine))
        first = next((name for name in names if name.startswith("kvant ")), names[0])
        figures = {(run["peer"], run["round"]): cells(run) for run in mine}
        keys = list(dict.fromkeys(key for values in figures.values() for key in values))
        print(f"\n## {dataset}: medians (ours over theirs, {first})\n")
        print("| figure | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names))
        for key in keys:
            row = []
            for name in names:
                rounds = [r for (peer, r), values in figures.items() if peer == name and key in values]
                if not rounds:
                    row.append("–")
                    continue
                value = statistics.median(figures[name, r][key] for r in rounds)
                both = [r for r in rounds if key in figures.get((first, r), {})]
                shown = f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"
                if name != first and both and figures[name, both[0]][key]:
                    ratio = statistics.median(figures[first, r][key] / figures[name, r][key] for r in both)
                    shown += f" ({ratio:.2f})"
                row.append(shown)
            print(f"| {key} | " + " | ".join(row) + " |")


def arguments():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser()
    numbers = lambda text: [int(part) for part in text.split(",")]
    names = lambda text: [part for part in text.split(",") if part]
    parser.add_argument("dataset", nargs="?", type=pathlib.Path)
    parser.add_argument("--ours", default="hnsw16")
    parser.add_argument("--peers", type=names, default=[])
    for flag, default in (("rounds", 3), ("nq", 1000), ("k", 10), ("reps", 3), ("build-threads", 2)):
        parser.add_argument("--" + flag, type=int, default=default)
    parser.add_argument("--threads", type=numbers, default=[1, 2])
    parser.add_argument("--cores", type=numbers, default=[0, 1])
    parser.add_argument("--filters", type=names, default=["0.01", "0.1", "0.5", "near", "far"])
    target = os.environ.get("CARGO_TARGET_DIR", root / "target")
    parser.add_argument("--kvant", default=str(pathlib.Path(target) / "release" / "kvant"))
    parser.add_argument("--runners", type=pathlib.Path, default=root / ".." / "shared" / "bench" / "ann")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("results.jsonl"))
    parser.add_argument("--worker")
    parser.add_argument("--table", nargs="+", type=pathlib.Path)
    return parser.parse_args()


def main():
    args = arguments()
    if args.table:
        return table([json.loads(line) for path in args.table for line in open(path)])
    if not args.dataset:
        sys.exit(__doc__)
    if args.worker:
        return work(args)
    data = load(args.dataset, args.nq, args.k)
    meta = data[3]
    engines = ["kvant " + spec for spec in args.ours.split(";") if spec] + args.peers
    runs = []
    for round_ in range(args.rounds):
        for name in engines if round_ % 2 == 0 else engines[::-1]:
            if name.startswith("kvant "):
                with tempfile.TemporaryDirectory() as folder:
                    run = run_ours(args, name[6:], data, pathlib.Path(folder))
            else:
                run = run_peer(args, name)
            if run is None:
                continue
            run |= {"dataset": meta.get("name", str(args.dataset)), "round": round_, "n": len(data[0])}
            runs.append(run)
            with open(args.out, "a") as out:
                out.write(json.dumps(run) + "\n")
            print(round_, run["peer"], f"build {run['build_s']:.1f} s,",
                  ", ".join(f"@{level} {speed(run['points'], level, 'qps_one') or 0:,.0f}/s" for level in LEVELS),
                  file=sys.stderr, flush=True)
    table(runs)


main()
