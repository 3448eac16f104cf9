#!/usr/bin/env python3
"""Draws docs/curve.svg from bench/curve.csv: divergence over bits per weight.

A line joins the points of a series that no smaller file of the series beats.

usage: curve.py            (standard library only; how the figures were made: docs/performance.md)
"""
import csv
import math
import pathlib

HERE = pathlib.Path(__file__).parent
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 440, 70, 20, 20, 60
BITS = (3, 9)
POWERS = (-3, 0)
STYLES = {
    "Kvant, calibrated": ("#0b6e4f", "", True),
    "Kvant, no data": ("#0b6e4f", "6 4", False),
    "llama.cpp, imatrix": ("#b23a48", "", True),
    "llama.cpp, no data": ("#b23a48", "6 4", False),
}


def across(bits):
    return LEFT + (bits - BITS[0]) / (BITS[1] - BITS[0]) * (WIDTH - LEFT - RIGHT)


def down(divergence):
    share = (POWERS[1] - math.log10(divergence)) / (POWERS[1] - POWERS[0])
    return TOP + share * (HEIGHT - TOP - BOTTOM)


def text(x, y, words, anchor="middle", size=12, colour="#222"):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def grid():
    low, high = across(BITS[0]), across(BITS[1])
    for bits in range(BITS[0], BITS[1] + 1):
        x = across(bits)
        yield f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>'
        yield text(x, HEIGHT - BOTTOM + 18, bits)
    for power in range(POWERS[0], POWERS[1] + 1):
        for digit in (1, 2, 5) if power < POWERS[1] else (1,):
            y = down(digit * 10.0**power)
            yield f'<line x1="{low:.1f}" y1="{y:.1f}" x2="{high:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
            yield text(LEFT - 8, y + 4, f"{digit * 10.0**power:g}", "end")
    yield text((low + high) / 2, HEIGHT - 18, "bits per weight")
    middle = (TOP + HEIGHT - BOTTOM) / 2
    yield f'<g transform="rotate(-90 16 {middle})">{text(16, middle, "mean KL divergence, nats a token")}</g>'


def series(name, rows, place):
    colour, dashes, filled = STYLES[name]
    points = sorted((float(row["bits_per_weight"]), float(row["divergence"]), row["file"]) for row in rows)
    best = [point for at, point in enumerate(points) if all(point[1] < other[1] for other in points[:at])]
    path = " ".join(f"{across(bits):.1f},{down(value):.1f}" for bits, value, _ in best)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5" stroke-dasharray="{dashes}"/>'
    inside = colour if filled else "#fff"
    for bits, value, file in points:
        x, y = across(bits), down(value)
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{inside}" stroke="{colour}"><title>{file}: {bits} bits, {value}</title></circle>'
    y = TOP + 16 + 18 * place
    x = WIDTH - RIGHT - 190
    yield f'<line x1="{x}" y1="{y - 4}" x2="{x + 36}" y2="{y - 4}" stroke="{colour}" stroke-width="1.5" stroke-dasharray="{dashes}"/>'
    yield f'<circle cx="{x + 18}" cy="{y - 4}" r="4" fill="{inside}" stroke="{colour}"/>'
    yield text(x + 44, y, name, "start")


def main():
    with open(HERE / "curve.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["series"] for row in rows} == set(STYLES), "unknown series"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        *grid(),
    ]
    for place, name in enumerate(STYLES):
        lines += series(name, [row for row in rows if row["series"] == name], place)
    (HERE.parent / "docs/curve.svg").write_text("\n".join([*lines, "</svg>"]) + "\n")


if __name__ == "__main__":
    main()
