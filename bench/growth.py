#!/usr/bin/env python3
"""How build and search grow with the number of rows: 10,000, 100,000 and 1,000,000 at one recall.

usage: growth.py make BASE.npy FOLDER [--dim 96] [--clusters 1000]
       growth.py run FOLDER --kvant BINARY [--ours SPEC;SPEC] [--rows 10000,100000,1000000]
       growth.py draw FOLDER OUT.svg [--recall 0.95]

`make` samples vectors from real clusters: the rows of BASE (unit length) are turned onto their first DIM
principal components and split by k-means; a new row takes a cluster by its size and adds a combination of the
cluster's own residuals with normal weights, which is a normal distribution with the covariance, and so the
spectrum, that the cluster really has. Rows are brought to unit length again. `run` builds and searches with
`kvant bench ann`, each in a process of its own whose largest memory is told, and then searches the file of the
index alone in another. `draw` prints times at the recall with the exponents between sizes, and plots them."""
import argparse
import json
import math
import pathlib
import re
import resource
import subprocess
import sys

QUERIES = 1000


def make(args):
    import faiss
    import numpy as np

    base = np.load(args.base).astype(np.float32)
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    mean = base.mean(0)
    values, axes = np.linalg.eigh(np.cov((base - mean).T))
    print(f"{args.dim} components hold {values[-args.dim :].sum() / values.sum():.3f} of the variance")
    # The mean stays in: cosine counts from the origin.
    turned = np.ascontiguousarray(base @ axes[:, : -args.dim - 1 : -1].astype(np.float32))
    kmeans = faiss.Kmeans(args.dim, args.clusters, niter=15, seed=1)
    kmeans.train(turned)
    of = kmeans.index.search(turned, 1)[1].ravel()
    order = np.argsort(of, kind="stable")
    counts = np.bincount(of, minlength=args.clusters)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    draw = np.random.default_rng(1)
    args.folder.mkdir(parents=True, exist_ok=True)
    sizes = sorted(args.rows)
    total = sizes[-1] + QUERIES
    rows = np.empty((total, args.dim), np.float32)
    which = draw.choice(args.clusters, total, p=counts / counts.sum())
    for cluster in range(args.clusters):
        at = np.flatnonzero(which == cluster)
        own = turned[order[starts[cluster] : starts[cluster] + counts[cluster]]]
        if len(at) == 0:
            continue
        centre = own.mean(0)
        weights = draw.standard_normal((len(at), len(own)), np.float32) / math.sqrt(max(len(own), 1))
        rows[at] = centre + weights @ (own - centre)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.save(args.folder / "queries.npy", rows[:QUERIES])
    for size in sizes:
        np.save(args.folder / f"base{size}.npy", rows[QUERIES : QUERIES + size])


def child(command):
    """What it printed, and the most memory that any child so far held; each is run alone."""
    done = subprocess.run([sys.executable, __file__, "alone"] + command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    said, last = done.stdout.rsplit("\n", 2)[:2]
    return said, int(last)


def alone(command):
    done = subprocess.run(command, capture_output=True, text=True)
    sys.stdout.write(done.stdout.rstrip("\n") + "\n")
    sys.stderr.write(done.stderr)
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
    return done.returncode


def run(args):
    for size in args.rows:
        for spec in args.ours.split(";"):
            out = args.folder / "out"
            flags = ["--base", str(args.folder / f"base{size}.npy"), "--queries", str(args.folder / "queries.npy")]
            flags += ["--metric", "cos", "--index", spec, "--threads", "1", "--build-threads", "2"]
            said, most = child([args.kvant, "bench", "ann", *flags, "--reps", "3", "--out", str(out), "--json"])
            lines = json.loads(said)
            at = next((line for line in lines if line["recall"] >= args.recall), lines[-1])
            effort = ["--probes" if "ivf" in at["engine"] else "--ef", str(at["param"])]
            search = [args.kvant, "index", "search", str(out / "index.kvant"), "--queries"]
            search += [str(args.folder / "queries.npy"), *effort, "--threads", "1", "-o", str(out / "found.npy")]
            (out / "found.npy").unlink(missing_ok=True)
            searched = child(search)[1]
            result = {"spec": spec, "rows": size, "bench_bytes": most, "search_bytes": searched, "lines": lines}
            with open(args.folder / "growth.jsonl", "a") as file:
                file.write(json.dumps(result) + "\n")
            print(size, at["engine"], f"built in {at['build_s']:.1f} s; {at['param']}: recall {at['recall']:.4f},",
                  f"{at['qps_one']:.0f}/s; {most / 2**20:.0f} MiB with truth and build, {searched / 2**20:.0f} MiB searching",
                  flush=True)


def speed(lines, level):
    """Queries a second at a recall, on a straight line in the logarithm between two settings."""
    points = sorted((line["recall"], line["qps_one"]) for line in lines)
    for low, high in zip(points, points[1:]):
        if low[0] < level <= high[0]:
            part = (level - low[0]) / (high[0] - low[0])
            return math.exp(math.log(low[1]) * (1 - part) + math.log(high[1]) * part)
    return points[0][1] if points[0][0] >= level else None


def draw(args):
    runs = [json.loads(line) for line in open(args.folder / "growth.jsonl")]
    series = {}
    for result in runs:
        qps = speed(result["lines"], args.recall)
        build = result["lines"][0]["build_s"]
        # The last run of a size counts.
        series.setdefault(result["spec"], {})[result["rows"]] = (1e6 / qps if qps else None, build, result)
    print(f"| index | rows | µs a query at {args.recall} | exponent | build, s | exponent | MiB searching |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for spec, sizes in series.items():
        before = None
        for rows, (micros, build, result) in sorted(sizes.items()):
            power = lambda a, b: f"{math.log(b / a) / math.log(rows / before[0]):.2f}" if before and a and b else ""
            shown = f"{micros:.1f}" if micros else "not reached"
            print(f"| `{spec}` | {rows:,} | {shown} | {power(before and before[1], micros)} | {build:.2f} |",
                  f"{power(before and before[2], build)} | {result['search_bytes'] / 2**20:.0f} |")
            before = (rows, micros, build)
        first, last = min(sizes), max(sizes)
        if first < last:
            over = math.log(last / first)
            ends = [(sizes[first][at], sizes[last][at]) for at in (0, 1)]
            exponents = [f"{math.log(b / a) / over:.2f}" if a and b else "–" for a, b in ends]
            print(f"| `{spec}` | {first:,} to {last:,} | | **{exponents[0]}** | | **{exponents[1]}** | |")
    args.out.write_text(svg(series, args.recall))


COLOURS = ["#2563eb", "#d97706", "#059669", "#9333ea"]


def svg(series, recall):
    """Two panels, both axes logarithmic."""
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 400" font-family="sans-serif" font-size="12">',
             '<rect width="860" height="400" fill="#fff"/>']
    for panel, (title, at) in enumerate([(f"microseconds a query at recall {recall}", 0), ("seconds of a build", 1)]):
        left, top, width, height = 60 + 430 * panel, 40, 350, 270
        values = [v[at] for sizes in series.values() for v in sizes.values() if v[at]]
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        rows = sorted({rows for sizes in series.values() for rows in sizes})
        first, last = math.log10(rows[0]), math.log10(rows[-1])
        x = lambda n: left + width * (math.log10(n) - first) / max(last - first, 1e-9)
        y = lambda v: top + height * (1 - (math.log10(v) - low) / max(high - low, 1e-9))
        parts.append(f'<text x="{left}" y="24" font-size="14">{title}</text>')
        for power in range(low, high + 1):
            parts.append(f'<path d="M{left} {y(10**power):.1f}h{width}" stroke="#ddd"/>'
                         f'<text x="{left - 6}" y="{y(10**power) + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
        for n in rows:
            parts.append(f'<path d="M{x(n):.1f} {top}v{height}" stroke="#eee"/>'
                         f'<text x="{x(n):.1f}" y="{top + height + 18}" text-anchor="middle">{n:,}</text>')
        for (spec, sizes), colour in zip(series.items(), COLOURS):
            points = [(x(n), y(v[at])) for n, v in sorted(sizes.items()) if v[at]]
            path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
            dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5" fill="{colour}"/>' for a, b in points)
            parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}')
    for at, (spec, colour) in enumerate(zip(series, COLOURS)):
        name = re.sub("[<>&]", "", spec)
        parts.append(f'<circle cx="66" cy="{352 + 18 * at}" r="4" fill="{colour}"/>'
                     f'<text x="76" y="{356 + 18 * at}">{name}</text>')
    return "\n".join(parts + ["</svg>\n"])


def main():
    if sys.argv[1:2] == ["alone"]:
        sys.exit(alone(sys.argv[2:]))
    sizes = lambda text: [int(part) for part in text.split(",")]
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(required=True)
    making, running, drawing = verbs.add_parser("make"), verbs.add_parser("run"), verbs.add_parser("draw")
    making.add_argument("base", type=pathlib.Path)
    for verb, work in ((making, make), (running, run), (drawing, draw)):
        verb.add_argument("folder", type=pathlib.Path)
        verb.set_defaults(work=work)
        verb.add_argument("--rows", type=sizes, default=[10_000, 100_000, 1_000_000])
        verb.add_argument("--recall", type=float, default=0.95)
    making.add_argument("--dim", type=int, default=96)
    making.add_argument("--clusters", type=int, default=1000)
    running.add_argument("--kvant", required=True)
    running.add_argument("--ours", default="hnsw,int8;ivf,pq,rerank16")
    drawing.add_argument("out", type=pathlib.Path)
    args = parser.parse_args()
    args.work(args)


main()
