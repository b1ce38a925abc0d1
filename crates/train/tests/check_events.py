#!/usr/bin/env python3
"""Reads a run's event files with TensorBoard's own reader and compares every value with the run's other files.

    pip install tensorboard pillow
    KILN_RUN_FOLDER=/tmp/run cargo test -p kiln-train --test reporter a_run_leaves
    python crates/train/tests/check_events.py /tmp/run

It compares the numbers of the epochs with metrics.jsonl, the histograms of the last weights with model.safetensors, names in the
graph with the names of the parameters, and decodes the pictures. It ends with an error at the first difference.
"""

import io
import json
import math
import struct
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def weights(path):
    """The f32 tensors of a safetensors file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    for name, entry in header.items():
        if entry["dtype"] == "F32":
            start, end = (8 + length + offset for offset in entry["data_offsets"])
            yield name, np.frombuffer(data[start:end], dtype="<f4")


def close(found, expected, what, tolerance=1e-6):
    assert math.isclose(found, expected, rel_tol=tolerance, abs_tol=1e-9), f"{what}: {found}, expected {expected}"


def check_histogram(histogram, values, what):
    values = values.astype(np.float64)
    assert histogram.num == values.size, f"{what}: {histogram.num} values"
    close(histogram.min, values.min(), what)
    close(histogram.max, values.max(), what)
    close(histogram.sum, values.sum(), what, 1e-9)
    close(histogram.sum_squares, np.square(values).sum(), what, 1e-9)
    below = -math.inf
    for limit, count in zip(histogram.bucket_limit, histogram.bucket):
        own = np.count_nonzero((values >= below) & (values < limit))
        assert count == own, f"{what}: {count} in {below}..{limit}, expected {own}"
        below = limit


def main(folder):
    events = EventAccumulator(str(folder), size_guidance={key: 0 for key in ("scalars", "images", "histograms", "tensors")})
    events.Reload()
    tags = events.Tags()
    compared = 0

    epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    fields = {"loss/train": "train_loss", "loss/test": "test_loss", "accuracy/train": "train_acc", "accuracy/test": "test_acc"}
    for tag, field in fields.items():
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        assert [step for step, _ in found] == [epoch["step"] for epoch in epochs], f"{tag}: steps {found}"
        for (step, value), epoch in zip(found, epochs):
            close(value, epoch[field], f"{tag} at {step}")
            compared += 1
    rates = events.Scalars("step/learning rate")
    by_step = {event.step: event.value for event in rates}
    for epoch in epochs:
        close(by_step[epoch["step"]], epoch["lr"], f"learning rate at {epoch['step']}")
        compared += 1
    for name in ("loss", "accuracy", "learning rate", "images per second", "memory MiB"):
        reports = events.Scalars(f"step/{name}")
        steps = [event.step for event in reports]
        assert steps == sorted(set(steps)) and len(steps) == len(rates), f"step/{name}: steps {steps}"
        assert all(math.isfinite(event.value) for event in reports), f"step/{name} is not finite"

    names = []
    for name, values in weights(folder / "model.safetensors"):
        histogram = events.Histograms(f"weights/{name}")[-1]
        assert histogram.step == epochs[-1]["step"]
        check_histogram(histogram.histogram_value, values, f"weights/{name}")
        gradients = events.Histograms(f"gradients/{name}")
        assert len(gradients) == len(epochs), f"gradients/{name}: {len(gradients)} histograms"
        assert gradients[-1].histogram_value.num == values.size
        names.append(name)
        compared += 1

    pictures = [tag for tag in tags["images"]]
    for tag in pictures:
        for image in events.Images(tag):
            picture = Image.open(io.BytesIO(image.encoded_image_string))
            picture.load()
            assert picture.size == (image.width, image.height), f"{tag}: {picture.size}"
            compared += 1
    for group in ("training images/", "mistakes/"):
        assert any(tag.startswith(group) for tag in pictures), f"no {group}"

    config = (folder / "config.toml").read_text()
    text = events.Tensors("configuration")[0].tensor_proto.string_val[0].decode()
    assert [line[4:] for line in text.splitlines()] == config.splitlines(), text

    nodes = {node.name: node for node in events.Graph().node}
    for node in nodes.values():
        for source in node.input:
            assert source in nodes, f"{node.name} reads {source}, which is nowhere"
    parameters = {name for name, node in nodes.items() if node.op == "Parameter"}
    assert parameters == {name.replace(".", "/") for name in names}, parameters
    print(f"{folder}: {len(epochs)} epochs, {len(rates)} reports, {len(names)} tensors, {len(pictures)} pictures, "
          f"{len(nodes)} nodes; {compared} values agree")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
