"""Draws a run's metrics.jsonl as an SVG: loss and accuracy on the training and the test images by epoch.

usage: draw_curve.py METRICS.jsonl OUT.svg          (Python 3, standard library only)
"""
import json
import sys

source, target = sys.argv[1:3]
rows = [json.loads(line) for line in open(source, encoding="utf-8")]
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, GAP = 860, 300, 56, 34, 44, 70
PANEL = (WIDTH - 2 * LEFT - GAP) / 2
COLOURS = {"train": "#8a94a6", "test": "#d9480f"}


def panel(x, title, key, low, high, ticks, label):
    plot = HEIGHT - TOP - BOTTOM
    across = lambda epoch: x + PANEL * (epoch - 1) / max(len(rows) - 1, 1)
    up = lambda value: TOP + plot * (high - min(max(value, low), high)) / (high - low)
    out = [f'<text x="{x}" y="20" class="title">{title}</text>']
    for tick in ticks:
        y = up(tick)
        out.append(f'<line x1="{x}" y1="{y:.1f}" x2="{x + PANEL:.1f}" y2="{y:.1f}" class="grid"/>')
        out.append(f'<text x="{x - 8}" y="{y + 4:.1f}" text-anchor="end">{label(tick)}</text>')
    for epoch in range(1, len(rows) + 1):
        out.append(f'<text x="{across(epoch):.1f}" y="{HEIGHT - 24}" text-anchor="middle">{epoch}</text>')
    out.append(f'<text x="{x + PANEL / 2:.1f}" y="{HEIGHT - 6}" text-anchor="middle">epoch</text>')
    for part, colour in COLOURS.items():
        values = [row[f"{part}_{key}"] for row in rows]
        points = " ".join(f"{across(i + 1):.1f},{up(v):.1f}" for i, v in enumerate(values))
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        out += [f'<circle cx="{across(i + 1):.1f}" cy="{up(v):.1f}" r="3" fill="{colour}"/>' for i, v in enumerate(values)]
        # The lines end close together: names go above the upper and below the lower one.
        upper = up(values[-1]) == min(up(rows[-1][f"{other}_{key}"]) for other in COLOURS)
        out.append(f'<text x="{x + PANEL:.1f}" y="{up(values[-1]) + (-10 if upper else 18):.1f}" text-anchor="end" '
                   f'fill="{colour}" font-weight="bold">{part} {label(values[-1], True)}</text>')
    return out


percent = lambda value, exact=False: f"{100 * value:.1f} %" if exact else f"{100 * value:.0f} %"
number = lambda value, exact=False: f"{value:.3f}" if exact else f"{value:.1f}"
most = max(row["train_loss"] for row in rows)
top = 0.5 * -(-most // 0.5)
steps = [0.5 * i for i in range(int(top / 0.5) + 1)]
lines = [
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
    'font-family="system-ui, sans-serif" font-size="12" fill="#495057">',
    "<style>.title{font-size:14px;font-weight:600;fill:#212529}.grid{stroke:#e9ecef}</style>",
    f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#ffffff"/>',
    *panel(LEFT, "Accuracy", "acc", 0.5, 1.0, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0], percent),
    *panel(LEFT + PANEL + GAP, "Loss (cross-entropy)", "loss", 0.0, top, steps, number),
    "</svg>",
]
with open(target, "w", encoding="utf-8", newline="\n") as file:
    file.write("\n".join(lines) + "\n")
