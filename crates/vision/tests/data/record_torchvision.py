#!/usr/bin/env python3
"""Record the names and shapes of torchvision's models, as torchvision.txt beside this script.

    pip install torch torchvision
    python crates/vision/tests/data/record_torchvision.py

A line per model, `# NAME PARAMETERS` (elements of all parameters), and below it a line per entry of its state dict, in order:
the name and the sizes of its axes.
"""

import pathlib

import torch
import torchvision

NAMES = ["alexnet"] + [f"vgg{layers}{norm}" for layers in (11, 13, 16, 19) for norm in ("", "_bn")]

lines = []
for name in NAMES:
    with torch.device("meta"):
        model = getattr(torchvision.models, name)()
    lines.append(f"# {name} {sum(parameter.numel() for parameter in model.parameters())}")
    lines += [" ".join([key, *map(str, value.shape)]) for key, value in model.state_dict().items()]
path = pathlib.Path(__file__).resolve().parent / "torchvision.txt"
path.write_text("\n".join(lines) + "\n")
print(f"{path.name}: {len(lines)} lines, torchvision {torchvision.__version__}")
