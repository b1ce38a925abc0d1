#!/usr/bin/env python3
"""Record what PyTorch gives for torchvision's AlexNet, VGG-11 and VGG-16 at 224x224 pixels, as networks.safetensors beside this script.

    pip install torch torchvision numpy safetensors
    python tests/data/record_networks.py

No weight is stored: both sides make them from a counter. Element i of the tensor number t (parameters in order from 0, images
1000, labels 2000) is

    h = i * 0x9E3779B9 + t * 0x85EBCA6B (all arithmetic modulo 2^32)
    h = (h ^ (h >> 16)) * 0x21F0AAAD;  h = (h ^ (h >> 15)) * 0x735A2D97;  h = h ^ (h >> 15)
    u = (h >> 8) * 2^-23 - 1

an exact f32 in -1..1. (The rounds are those of Chris Wellons' lowbias32.) A weight is `u * f32(sqrt(6 / fan_in))`, which keeps the
variance through ReLU; a bias `u * f32(0.1)`; a pixel `u / 4`; a label `h % classes`.

Of each gradient are kept: its norm, its sum, 16 samples at `k * (n // 16)`, and a sketch of 64 numbers: with the hash h of element i
for t = 3000 + the parameter's number, the element goes with the sign of h's top bit to the bucket of h's lowest 6. The expected squared
distance of two sketches is the squared distance of the gradients, so that a gradient is compared whole without being stored.

NET.logits, NET.loss; NET.PARAMETER.{norm,sum,samples,sketch} of the first step's gradients; alexnet.losses: 5 steps of SGD.
"""

import json
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from safetensors.numpy import save as serialise

HERE = pathlib.Path(__file__).resolve().parent
IMAGES, LABELS, SKETCHES = 1000, 2000, 3000
BUCKETS, SAMPLES = 64, 16
# The network, and the images of its first step.
NETS = {"alexnet": 2, "vgg11": 1, "vgg16": 1}
STEPS, BATCH, RATE, MOMENTUM = 5, 8, 0.001, 0.9


def hashes(stream, count):
    h = np.arange(count, dtype=np.uint32)
    h *= np.uint32(0x9E3779B9)
    h += np.uint32(stream * 0x85EBCA6B % 2**32)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x21F0AAAD)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x735A2D97)
    h ^= h >> np.uint32(15)
    return h


def uniform(stream, shape, bound):
    h = hashes(stream, math.prod(shape))
    u = (h >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1.0)
    return torch.from_numpy((u * np.float32(bound)).reshape(shape))


def network(name):
    with torch.device("meta"):
        model = getattr(torchvision.models, name)(dropout=0.0)
    values = {}
    for stream, (key, parameter) in enumerate(model.named_parameters()):
        shape = tuple(parameter.shape)
        values[key] = uniform(stream, shape, math.sqrt(6 / math.prod(shape[1:])) if len(shape) > 1 else 0.1)
    model.load_state_dict(values, assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_()
    return model


def batch(count):
    images = uniform(IMAGES, (count, 3, 224, 224), 0.25)
    return images, torch.from_numpy((hashes(LABELS, count) % np.uint32(1000)).astype(np.int64))


def sketch(stream, gradient):
    h = hashes(stream, gradient.size)
    signed = np.where(h >> np.uint32(31) == 1, -gradient, gradient)
    return np.bincount(h & np.uint32(BUCKETS - 1), weights=signed, minlength=BUCKETS).astype(np.float32)


def record_first_steps(tensors):
    for name, count in NETS.items():
        model = network(name)
        images, labels = batch(count)
        logits = model(images)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        tensors[f"{name}.logits"] = logits.detach().numpy()
        tensors[f"{name}.loss"] = loss.detach().numpy().reshape(1)
        for number, (key, parameter) in enumerate(model.named_parameters()):
            gradient = parameter.grad.numpy().reshape(-1)
            wide = gradient.astype(np.float64)
            norm, total = np.linalg.norm(wide), wide.sum()
            tensors[f"{name}.{key}.norm_and_sum"] = np.array([norm, total], dtype=np.float32)
            step = gradient.size // SAMPLES
            tensors[f"{name}.{key}.samples"] = gradient[: step * SAMPLES : step].copy() if step else gradient.copy()
            tensors[f"{name}.{key}.sketch"] = sketch(SKETCHES + number, wide)
        print(name, "loss", loss.item(), "logits", float(logits.detach().norm()))


def record_training(tensors):
    model = network("alexnet")
    optim = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    images, labels = batch(BATCH)
    losses = []
    for _ in range(STEPS):
        loss = F.cross_entropy(model(images), labels)
        optim.zero_grad()
        loss.backward()
        optim.step()
        losses.append(loss.item())
    print("losses", losses)
    tensors["alexnet.losses"] = np.array(losses, dtype=np.float32)


def store(tensors):
    recorded = {"torch": torch.__version__, "torchvision": torchvision.__version__, "cases": {}}
    recorded["cases"] = {"alexnet": {"batch": BATCH, "lr": RATE, "momentum": MOMENTUM}}
    path = HERE / "networks.safetensors"
    path.write_bytes(serialise(tensors, metadata={"recorded": json.dumps(recorded, sort_keys=True)}))
    print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.backends.mkldnn.enabled = False
    recorded = {}
    record_first_steps(recorded)
    record_training(recorded)
    store(recorded)
