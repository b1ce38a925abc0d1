"""The benchmarks in PyTorch. Each prints lines of JSON as `kiln bench` does.

    python peer.py step --net NAME --weights FILE [--batch N] [--steps N] [--device cpu|cuda]
    python peer.py gemm --size N [--size N ...]      f32 products of square matrices
    python peer.py conv                              3x3, N=8, C=K=64, 56x56: forward, and with both gradients

On the CPU it runs with --threads threads (all by default) in PyTorch's own layout, NCHW; on CUDA without TF32, so that both
compute in f32. Needs torch and numpy.
"""

import argparse
import json
import pathlib
import struct
import time

import numpy as np
import torch
from torch import nn

NETS = json.loads(pathlib.Path(__file__).with_name("..").joinpath("nets.json").read_text())
RATE, MOMENTUM = 0.01, 0.9
# The steps before those that are timed: the first, and two more. Their losses are printed.
UNTIMED = 3


def read_weights(path):
    """The tensors of a safetensors file of f32, by name."""
    data = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    body = memoryview(data)[8 + length :]
    tensors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32", name
        begin, end = entry["data_offsets"]
        values = np.frombuffer(body[begin:end], dtype="<f4").reshape(entry["shape"])
        tensors[name] = torch.from_numpy(values.copy())
    return tensors


def images(count):
    """A multiplicative hash of the position, in [-1, 1): what every peer takes."""
    hashed = np.arange(count, dtype=np.uint32) * np.uint32(2654435761)
    return torch.from_numpy((hashed >> 8).astype(np.float32) / np.float32(1 << 23) - np.float32(1))


def build(net, weights):
    layers = []
    for layer in net["layers"]:
        kind = layer["kind"]
        if kind == "conv":
            module = nn.Conv2d(
                layer["inputs"], layer["outputs"], layer["kernel"], stride=layer["stride"], padding=layer["padding"]
            )
        elif kind == "linear":
            if not any(isinstance(earlier, nn.Linear) for earlier in layers):
                layers.append(nn.Flatten())
            module = nn.Linear(layer["inputs"], layer["outputs"])
        elif kind == "pool":
            module = nn.MaxPool2d(layer["kernel"], layer["stride"])
        else:
            module = nn.ReLU(inplace=True)
        if "name" in layer:
            with torch.no_grad():
                module.weight.copy_(weights[layer["name"] + ".weight"])
                module.bias.copy_(weights[layer["name"] + ".bias"])
        layers.append(module)
    return nn.Sequential(*layers)


def adapter(device):
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def program(device):
    return "pytorch cuda" if device.type == "cuda" else "pytorch cpu"


def sync(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def resident_bytes_peak():
    """The most memory that this process has held, where Linux tells it."""
    try:
        status = pathlib.Path("/proc/self/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def step(args, device):
    net = NETS[args.net]
    batch = args.batch or net["batch"]
    x = images(batch * int(np.prod(net["input"]))).reshape(batch, *net["input"]).to(device)
    labels = torch.tensor([7 * i % net["classes"] for i in range(batch)], device=device)

    start = time.perf_counter()
    model = build(net, read_weights(args.weights)).to(device)
    optim = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)

    def one():
        loss = nn.functional.cross_entropy(model(x), labels)
        optim.zero_grad(set_to_none=True)
        loss.backward()
        optim.step()
        value = loss.item()
        sync(device)
        return value

    losses = [one()]
    first = time.perf_counter() - start
    losses += [one() for _ in range(1, UNTIMED)]
    times = []
    for _ in range(args.steps):
        start = time.perf_counter()
        one()
        times.append(time.perf_counter() - start)
    median = float(np.median(times))
    line = {
        "net": args.net,
        "batch": batch,
        "program": program(device),
        "version": torch.__version__,
        "adapter": adapter(device),
        "first_step_ms": 1000 * first,
        "median_ms": 1000 * median,
        "best_ms": 1000 * min(times),
        "images_per_s": batch / median,
        "resident_bytes_peak": resident_bytes_peak(),
        "losses": losses,
    }
    if device.type == "cuda":
        line["device_bytes_peak"] = torch.cuda.max_memory_allocated(device)
    print(json.dumps(line))


def measure(problem, what, flops, run, device):
    """Times a function as `kiln bench` does: samples of several calls, each waited for at its end."""
    run()
    run()
    sync(device)
    start = time.perf_counter()
    run()
    sync(device)
    calls = max(1, min(64, round(0.01 / max(time.perf_counter() - start, 1e-6))))
    times = []
    begin = time.perf_counter()
    while len(times) < 5 or (time.perf_counter() - begin < 1.0 and len(times) < 50):
        start = time.perf_counter()
        for _ in range(calls):
            run()
        sync(device)
        times.append((time.perf_counter() - start) / calls)
    line = {
        "problem": problem,
        "pass": what,
        "program": program(device),
        "version": torch.__version__,
        "adapter": adapter(device),
        "median_ms": 1000 * float(np.median(times)),
        "best_ms": 1000 * min(times),
        "gflops": flops / min(times) / 1e9,
    }
    print(json.dumps(line), flush=True)


def gemm(args, device):
    for n in args.size or [512, 1024, 2048]:
        a, b = torch.rand(n, n, device=device), torch.rand(n, n, device=device)
        with torch.no_grad():
            measure(f"{n}x{n}x{n}", "forward", 2 * n**3, lambda: a @ b, device)


def conv(args, device):
    problem, flops = "3x3 64-64 56x56 n8", 2 * 8 * 64 * 64 * 9 * 56 * 56
    x = torch.rand(8, 64, 56, 56, device=device, requires_grad=True)
    weight = torch.rand(64, 64, 3, 3, device=device, requires_grad=True)
    dy = torch.rand(8, 64, 56, 56, device=device)

    def forward():
        with torch.no_grad():
            nn.functional.conv2d(x, weight, padding=1)

    def both():
        y = nn.functional.conv2d(x, weight, padding=1)
        torch.autograd.grad(y, (x, weight), dy)

    measure(problem, "forward", flops, forward, device)
    measure(problem, "forward and gradients", 3 * flops, both, device)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", choices=["step", "gemm", "conv"])
    parser.add_argument("--net", choices=NETS)
    parser.add_argument("--weights")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--size", type=int, action="append")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    {"step": step, "gemm": gemm, "conv": conv}[args.bench](args, torch.device(args.device))


if __name__ == "__main__":
    main()
