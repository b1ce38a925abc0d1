#!/usr/bin/env python3
"""Record values of PyTorch for the parity tests, as small safetensors files beside this script.

    pip install torch numpy safetensors
    python tests/data/record_pytorch.py

Everything is computed in float32 on one CPU thread without oneDNN, from seeds, so that a second run on the same
PyTorch writes the same bytes. Values are stored as PyTorch gave them, indices as int32. The options of the cases and
the version of PyTorch stand in each file's metadata, under the one key "recorded", as JSON.

conv2d.safetensors         CASE.{x,weight,bias,y,dy,dx,dweight,dbias}
conv_transpose2d.safetensors  the same
pool.safetensors           CASE.{x,y,dy,dx}, for max pooling also CASE.indices (within each plane, as PyTorch counts)
softmax.safetensors        CASE.{x,softmax,log_softmax,dy,softmax_dx,log_softmax_dx}
cross_entropy.safetensors  CASE.{logits,targets,loss,dlogits}
adaptive_pool.safetensors  CASE.{x,dy,max,indices,max_dx,avg,avg_dx}, pooled to `size`
interpolate.safetensors    CASE.{x,dy,y,dx} and options
local_response_norm.safetensors  CASE.{x,dy,y,dx} and options
class_loss.safetensors     CASE.{x,target,weight,loss,dx} and options; dx where each loss has the gradient 1
activation.safetensors     x, dy, ACTIVATION.{y,dx}; x4, prelu.{weight,y}
elementwise_loss.safetensors  x, target, LOSS.{none,mean,sum,dx}; logits, probabilities, weight, pos_weight,
                           bce.{plain,weight,pos_weight,both}
non_finite.safetensors     OP.{x0,x1,y}, and OP.{d0,d1}_{one,nan}: the inputs' gradients where that of the result is 1, or NaN
batch_norm.safetensors     CASE.{x,weight,bias,dy,y,dx,dweight,dbias}, CASE.{start,end}_{mean,var}: running statistics
                           before and after, CASE.eval_y: by those before
optim.safetensors          target.{a,b} and start.{a,b}, then CASE.{a,b}: the parameters after each of 25 steps
schedule.safetensors       SCHEDULE: the learning rates of 25 steps; told: what the plateaus were told
lenet5.safetensors         initial.NAME, gradient.NAME (of the first step), logits (of the first batch), losses and
                           losses_fast (20 steps at two learning rates), batches (indices into the embedded training
                           set), labels, pixel_sums (a check that the images are still the same)
torch/*.pth                state dicts and checkpoints as torch.save writes them; what is in them is in record_files (the
                           older format names storages by their addresses, so that its bytes are others each time)
"""

import argparse
import gzip
import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save as serialise

HERE = pathlib.Path(__file__).resolve().parent
IMAGES = HERE.parent.parent / "crates" / "data" / "fashion-mnist"


def values(seed, *shape):
    """Standard normal values; RandomState's stream is frozen by numpy, so they outlive its versions."""
    array = np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
    return torch.from_numpy(array)


def save(name, tensors, cases):
    arrays = {}
    for key, tensor in tensors.items():
        array = tensor.detach().numpy()
        arrays[key] = np.ascontiguousarray(array.astype(np.int32) if array.dtype == np.int64 else array)
    recorded = {"torch": torch.__version__, "cases": cases}
    path = HERE / f"{name}.safetensors"
    path.write_bytes(serialise(arrays, metadata={"recorded": json.dumps(recorded, sort_keys=True)}))
    print(f"{path.name}: {len(arrays)} tensors, {path.stat().st_size:,} bytes")


def pair(value):
    return [value, value] if isinstance(value, int) else list(value)


def record_conv2d():
    # name: input shape, weight shape, options
    cases = {
        "plain": ((2, 3, 7, 8), (4, 3, 3, 3), {}),
        "no_bias": ((1, 2, 5, 5), (3, 2, 2, 2), {"bias": False}),
        "one_by_one": ((2, 5, 6, 7), (8, 5, 1, 1), {}),
        "stride": ((2, 3, 9, 10), (5, 3, 3, 3), {"stride": 2}),
        "stride_uneven": ((1, 2, 11, 13), (3, 2, 4, 3), {"stride": (3, 2)}),
        "padding": ((2, 1, 8, 8), (6, 1, 5, 5), {"padding": 2}),
        "padding_uneven": ((1, 3, 5, 7), (4, 3, 3, 5), {"padding": (0, 3)}),
        "padding_over_kernel": ((1, 2, 3, 3), (2, 2, 2, 2), {"padding": 3}),
        "dilation": ((1, 2, 10, 9), (3, 2, 3, 3), {"dilation": 2, "padding": 1}),
        "dilation_uneven": ((1, 2, 9, 12), (3, 2, 3, 2), {"dilation": (1, 4)}),
        "groups": ((2, 6, 6, 5), (9, 2, 3, 3), {"groups": 3, "padding": 1}),
        "depthwise": ((2, 5, 7, 7), (10, 1, 3, 3), {"groups": 5, "stride": 2, "padding": 1}),
        "everything": (
            (2, 4, 13, 11),
            (6, 2, 3, 2),
            {"stride": (2, 3), "padding": (2, 1), "dilation": (3, 2), "groups": 2},
        ),
        "whole_input": ((3, 4, 5, 5), (7, 4, 5, 5), {}),
    }
    tensors, described = {}, {}
    for seed, (name, (x_shape, w_shape, options)) in enumerate(cases.items()):
        options = dict(options)
        bias = options.pop("bias", True)
        x = values(1000 + seed, *x_shape).requires_grad_()
        w = values(2000 + seed, *w_shape).requires_grad_()
        b = values(3000 + seed, w_shape[0]).requires_grad_() if bias else None
        y = F.conv2d(x, w, b, **options)
        dy = values(4000 + seed, *y.shape)
        y.backward(dy)
        case = {"x": x, "weight": w, "y": y, "dy": dy, "dx": x.grad, "dweight": w.grad}
        if bias:
            case |= {"bias": b, "dbias": b.grad}
        tensors |= {f"{name}.{key}": tensor for key, tensor in case.items()}
        described[name] = {
            "stride": pair(options.get("stride", 1)),
            "padding": pair(options.get("padding", 0)),
            "dilation": pair(options.get("dilation", 1)),
            "groups": options.get("groups", 1),
            "bias": bias,
        }
    save("conv2d", tensors, described)


def record_conv_transpose2d():
    # name: input shape, weight shape, options
    cases = {
        "plain": ((2, 3, 4, 5), (3, 4, 3, 3), {}),
        "no_bias": ((1, 2, 3, 3), (2, 3, 2, 2), {"stride": 2, "bias": False}),
        "output_padding": ((2, 2, 4, 3), (2, 3, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
        "groups": ((1, 4, 4, 4), (4, 3, 3, 2), {"groups": 2, "stride": 2}),
        "everything": (
            (2, 4, 4, 5),
            (4, 1, 3, 2),
            {"stride": (3, 2), "padding": (2, 1), "output_padding": (2, 1), "groups": 2, "dilation": (2, 3)},
        ),
    }
    tensors, described = {}, {}
    for seed, (name, (x_shape, w_shape, options)) in enumerate(cases.items()):
        options = dict(options)
        bias = options.pop("bias", True)
        x = values(1500 + seed, *x_shape).requires_grad_()
        w = values(2500 + seed, *w_shape).requires_grad_()
        b = values(3500 + seed, w_shape[1] * options.get("groups", 1)).requires_grad_() if bias else None
        y = F.conv_transpose2d(x, w, b, **options)
        dy = values(4500 + seed, *y.shape)
        y.backward(dy)
        case = {"x": x, "weight": w, "y": y, "dy": dy, "dx": x.grad, "dweight": w.grad}
        if bias:
            case |= {"bias": b, "dbias": b.grad}
        tensors |= {f"{name}.{key}": tensor for key, tensor in case.items()}
        described[name] = {
            "stride": pair(options.get("stride", 1)),
            "padding": pair(options.get("padding", 0)),
            "output_padding": pair(options.get("output_padding", 0)),
            "dilation": pair(options.get("dilation", 1)),
            "groups": options.get("groups", 1),
        }
    save("conv_transpose2d", tensors, described)


def record_pool():
    # name: kind, input shape, options
    cases = {
        "max_plain": ("max", (2, 3, 8, 6), {"kernel_size": 2}),
        "max_overlapping": ("max", (2, 2, 9, 9), {"kernel_size": 3, "stride": 2}),
        "max_padding": ("max", (1, 3, 7, 8), {"kernel_size": 3, "stride": 2, "padding": 1}),
        "max_gaps": ("max", (1, 2, 10, 11), {"kernel_size": 2, "stride": 3}),
        "max_uneven": ("max", (2, 2, 9, 7), {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)}),
        "max_dilation": ("max", (1, 2, 11, 10), {"kernel_size": 3, "stride": 1, "dilation": (2, 3)}),
        "max_ceil": ("max", (2, 2, 7, 8), {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
        "max_ceil_padding": ("max", (1, 2, 6, 5), {"kernel_size": 3, "stride": 3, "padding": 1, "ceil_mode": True}),
        "max_everything": (
            "max",
            (2, 2, 12, 13),
            {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 1), "dilation": (2, 3), "ceil_mode": True},
        ),
        "max_ties": ("max", (1, 2, 6, 6), {"kernel_size": 3, "stride": 1, "padding": 1}),
        "avg_plain": ("avg", (2, 3, 8, 6), {"kernel_size": 2}),
        "avg_overlapping": ("avg", (1, 2, 9, 9), {"kernel_size": 3, "stride": 2}),
        "avg_padding": ("avg", (2, 2, 7, 8), {"kernel_size": 3, "stride": 2, "padding": 1}),
        "avg_padding_excluded": (
            "avg",
            (2, 2, 7, 8),
            {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False},
        ),
        "avg_ceil": ("avg", (1, 2, 7, 8), {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
        "avg_ceil_padding": (
            "avg",
            (1, 3, 6, 8),
            {"kernel_size": (3, 4), "stride": (2, 3), "padding": (1, 2), "ceil_mode": True},
        ),
        "avg_ceil_padding_excluded": (
            "avg",
            (1, 3, 6, 8),
            {"kernel_size": (3, 4), "stride": (2, 3), "padding": (1, 2), "ceil_mode": True, "count_include_pad": False},
        ),
        "avg_global": ("avg", (2, 4, 5, 7), {"kernel_size": (5, 7)}),
    }
    tensors, described = {}, {}
    for seed, (name, (kind, shape, options)) in enumerate(cases.items()):
        x = values(5000 + seed, *shape)
        if name == "max_ties":
            x = x.round()
        x = x.requires_grad_()
        if kind == "max":
            y, indices = F.max_pool2d(x, **options, return_indices=True)
            tensors[f"{name}.indices"] = indices
        else:
            y = F.avg_pool2d(x, **options)
        dy = values(6000 + seed, *y.shape)
        y.backward(dy)
        case = {"x": x, "y": y, "dy": dy, "dx": x.grad}
        tensors |= {f"{name}.{key}": tensor for key, tensor in case.items()}
        kernel = pair(options["kernel_size"])
        described[name] = {
            "kind": kind,
            "kernel": kernel,
            "stride": pair(options.get("stride", kernel)),
            "padding": pair(options.get("padding", 0)),
            "dilation": pair(options.get("dilation", 1)),
            "ceil_mode": options.get("ceil_mode", False),
            "count_include_pad": options.get("count_include_pad", True),
        }
    save("pool", tensors, described)


def record_softmax():
    # name: shape, axis, scale of the values, offset
    cases = {
        "rows": ((5, 10), 1, 1.0, 0.0),
        "columns": ((7, 3), 0, 1.0, 0.0),
        "middle": ((3, 17, 4), 1, 3.0, 0.0),
        "one_class": ((4, 1), 1, 1.0, 0.0),
        "wide": ((2, 1000), 1, 2.0, 0.0),
        "far_from_zero": ((3, 65), 1, 1.0, 1000.0),
        "steep": ((4, 9), 1, 50.0, 0.0),
    }
    tensors, described = {}, {}
    for seed, (name, (shape, axis, scale, offset)) in enumerate(cases.items()):
        x = values(7000 + seed, *shape) * scale + offset
        dy = values(7500 + seed, *shape)
        case = {"x": x, "dy": dy}
        for op in ("softmax", "log_softmax"):
            leaf = x.clone().requires_grad_()
            y = getattr(F, op)(leaf, dim=axis)
            y.backward(dy)
            case |= {op: y, f"{op}_dx": leaf.grad}
        tensors |= {f"{name}.{key}": tensor for key, tensor in case.items()}
        described[name] = {"axis": axis}
    save("softmax", tensors, described)


def record_cross_entropy():
    # name: rows, classes, scale, offset if any
    cases = {
        "ten_classes": (64, 10, 1.0),
        "one_row": (1, 10, 1.0),
        "one_class": (5, 1, 1.0),
        "two_classes": (33, 2, 4.0),
        "thousand_classes": (3, 1000, 2.0),
        "steep": (8, 7, 40.0),
        "at_a_thousand": (16, 10, 2.0, 1000.0),
        "at_ten_thousand": (16, 10, 2.0, 10000.0),
    }
    tensors = {}
    for seed, (name, (rows, classes, scale, *offset)) in enumerate(cases.items()):
        logits = (values(8000 + seed, rows, classes) * scale + sum(offset)).requires_grad_()
        targets = torch.from_numpy(np.random.RandomState(8500 + seed).randint(0, classes, rows))
        loss = F.cross_entropy(logits, targets)
        loss.backward()
        case = {"logits": logits, "targets": targets, "loss": loss, "dlogits": logits.grad}
        tensors |= {f"{name}.{key}": tensor for key, tensor in case.items()}
    save("cross_entropy", tensors, {name: {} for name in cases})


def record_adaptive_pool():
    # name: shape, output size
    cases = {
        "uneven": ((2, 2, 7, 5), (3, 2)),
        "divides": ((1, 2, 6, 8), (3, 2)),
        "vgg": ((1, 1, 9, 8), (7, 7)),
        "larger": ((1, 2, 3, 2), (5, 4)),
        "global": ((2, 3, 5, 4), (1, 1)),
    }
    tensors = {}
    for seed, (name, (shape, size)) in enumerate(cases.items()):
        x, dy = values(9500 + seed, *shape), values(9520 + seed, *shape[:2], *size)
        case = {"x": x, "dy": dy}
        for kind in ("max", "avg"):
            leaf = x.clone().requires_grad_()
            if kind == "max":
                y, case["indices"] = F.adaptive_max_pool2d(leaf, size, return_indices=True)
            else:
                y = F.adaptive_avg_pool2d(leaf, size)
            y.backward(dy)
            case |= {kind: y, f"{kind}_dx": leaf.grad}
        tensors |= {f"{name}.{key}": tensor for key, tensor in case.items()}
    save("adaptive_pool", tensors, {name: {"size": pair(size)} for name, (_, size) in cases.items()})


def record_interpolate():
    """Sizes whose steps are no exact f32, so that a coordinate that is rounded otherwise shows."""
    sizes = {
        "up": ((2, 2, 5, 4), {"size": (7, 11)}),
        "down": ((1, 2, 13, 9), {"size": (6, 4)}),
        "double": ((1, 2, 3, 4), {"scale_factor": (2.0, 2.0)}),
        "factor": ((2, 1, 7, 5), {"scale_factor": (1.7, 2.6)}),
        "small_factor": ((1, 1, 11, 13), {"scale_factor": (0.3, 0.7)}),
        "same_by_factor": ((1, 1, 5, 5), {"scale_factor": (1.1, 1.1)}),
        "to_one": ((1, 2, 6, 7), {"size": (1, 1)}),
        "from_one": ((1, 1, 1, 2), {"size": (3, 9)}),
        "thirds": ((1, 1, 40, 1), {"size": (120, 1)}),
    }
    modes = {
        "nearest": {"mode": "nearest"},
        "bilinear": {"mode": "bilinear", "align_corners": False},
        "aligned": {"mode": "bilinear", "align_corners": True},
    }
    tensors, described = {}, {}
    for seed, (size, (shape, asked)) in enumerate(sizes.items()):
        for kind, options in modes.items():
            x = values(9700 + seed, *shape).requires_grad_()
            y = F.interpolate(x, **asked, **options)
            dy = values(9720 + seed, *y.shape)
            y.backward(dy)
            name = f"{size}_{kind}"
            case = {"x": x, "dy": dy, "y": y, "dx": x.grad}
            tensors |= {f"{name}.{key}": tensor for key, tensor in case.items()}
            described[name] = options | {"by_size": "size" in asked, "to": list(*asked.values())}
    save("interpolate", tensors, described)


def record_local_response_norm():
    # name: shape, size, alpha, beta, k
    cases = {
        "alexnet": ((2, 9, 3, 2), 5, 5e-4, 0.75, 2.0),
        "steep": ((1, 6, 4, 2), 3, 1.0, 0.75, 1.0),
        "even": ((2, 7, 3), 4, 0.5, 1.25, 0.5),
        "wider_than_channels": ((1, 3, 2, 2), 7, 0.5, 0.5, 1.0),
    }
    tensors = {}
    for seed, (name, (shape, *options)) in enumerate(cases.items()):
        x, dy = values(9540 + seed, *shape).requires_grad_(), values(9560 + seed, *shape)
        y = F.local_response_norm(x, *options)
        y.backward(dy)
        case = {"x": x, "dy": dy, "y": y, "dx": x.grad}
        tensors |= {f"{name}.{key}": tensor for key, tensor in case.items()}
    described = {name: dict(zip(("size", "alpha", "beta", "k"), options)) for name, (_, *options) in cases.items()}
    save("local_response_norm", tensors, described)


def record_class_loss():
    # name: shape, probabilities, options
    cases = {
        "weights": ((9, 4), False, {"weighted": True}),
        "smoothing": ((9, 4), False, {"label_smoothing": 0.1}),
        "ignored": ((9, 4), False, {"ignore_index": 2}),
        "everything": ((9, 4), False, {"weighted": True, "label_smoothing": 0.2, "ignore_index": 1}),
        "everything_none": ((9, 4), False, {"weighted": True, "label_smoothing": 0.2, "ignore_index": 1, "reduction": "none"}),
        "everything_sum": ((3, 5, 2), False, {"weighted": True, "label_smoothing": 0.4, "ignore_index": 0, "reduction": "sum"}),
        "probabilities": ((6, 5), True, {}),
        "probabilities_everything": ((2, 5, 3), True, {"weighted": True, "label_smoothing": 0.3}),
        "probabilities_none": ((2, 5, 3), True, {"weighted": True, "label_smoothing": 0.3, "reduction": "none"}),
    }
    tensors, described = {}, {}
    for seed, (name, (shape, probabilities, options)) in enumerate(cases.items()):
        x, weight = values(9620 + seed, *shape).requires_grad_(), values(9640 + seed, shape[1]).abs() + 0.2
        target = torch.softmax(values(9660 + seed, *shape), 1)
        if not probabilities:
            target = target.argmax(1)
        given = dict(options)
        used = {"weight": weight} if given.pop("weighted", False) else {}
        loss = F.cross_entropy(x, target, **given, **used)
        loss.sum().backward()
        case = {"x": x, "target": target, "weight": weight, "loss": loss, "dx": x.grad}
        tensors |= {f"{name}.{key}": tensor for key, tensor in case.items()}
        described[name] = {"reduction": "mean"} | options
    save("class_loss", tensors, described)


def record_activation():
    cases = {
        "leaky_relu": lambda x: F.leaky_relu(x, 0.25),
        "silu": F.silu,
        "gelu": F.gelu,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    }
    x, dy = values(9400, 65) * 3, values(9401, 65)
    x4, weight = values(9402, 2, 3, 4, 2), values(9403, 3)
    tensors = {"x": x, "dy": dy, "x4": x4, "prelu.weight": weight, "prelu.y": F.prelu(x4, weight)}
    for name, activation in cases.items():
        leaf = x.clone().requires_grad_()
        y = activation(leaf)
        y.backward(dy)
        tensors |= {f"{name}.y": y, f"{name}.dx": leaf.grad}
    save("activation", tensors, {name: {} for name in cases})


def record_elementwise_loss():
    cases = {
        "mse_loss": F.mse_loss,
        "l1_loss": F.l1_loss,
        "smooth_l1_loss": lambda x, target, reduction: F.smooth_l1_loss(x, target, reduction=reduction, beta=0.5),
        "huber_loss": lambda x, target, reduction: F.huber_loss(x, target, reduction=reduction, delta=1.5),
    }
    x, target = values(9410, 7, 5), values(9411, 7, 5)
    tensors = {"x": x, "target": target}
    for name, loss in cases.items():
        tensors |= {f"{name}.{reduction}": loss(x, target, reduction=reduction) for reduction in ("none", "mean", "sum")}
        leaf = x.clone().requires_grad_()
        loss(leaf, target, reduction="mean").backward()
        tensors[f"{name}.dx"] = leaf.grad
    logits, probabilities = values(9412, 7, 5) * 4, torch.sigmoid(values(9413, 7, 5))
    weight, pos_weight = values(9414, 5).abs(), values(9415, 5).abs() * 2
    tensors |= {"logits": logits, "probabilities": probabilities, "weight": weight, "pos_weight": pos_weight}
    for name, options in {
        "plain": {},
        "weight": {"weight": weight},
        "pos_weight": {"pos_weight": pos_weight},
        "both": {"weight": weight, "pos_weight": pos_weight},
    }.items():
        tensors[f"bce.{name}"] = F.binary_cross_entropy_with_logits(logits, probabilities, **options)
    save("elementwise_loss", tensors, {name: {} for name in cases})


def record_non_finite():
    """NaN, infinities and numbers at which functions saturate, alone or in all pairs; rows for what goes along an axis."""
    nan, inf = float("nan"), float("inf")
    values = torch.tensor([nan, inf, -inf, 0.0, 1.0, -2.0, 15.0, -15.0])
    single = values[:, None].expand(8, 1).clone()
    left, right = (grid.flatten() for grid in torch.meshgrid(values, values, indexing="ij"))
    rows = [[1.0, nan, 2.0], [inf, 1.0, inf], [-inf, -inf, -inf], [inf, -inf, 0.0], [-inf, 0.0, 1.0], [15.0, -15.0, 0.0]]
    rows = torch.tensor(rows)
    planes = torch.tensor([nan, 1, 1, nan, nan, nan, inf, nan, -inf, -inf, inf, -inf, 2, 1]).reshape(1, 1, 1, 14)
    channels = torch.tensor([1.0, inf, 1.0, 2.0, 3.0, 4.0, nan, 5.0]).reshape(1, 8, 1, 1)
    classes = torch.tensor([0, 1, 2, 0, 0, 1])
    shares = F.one_hot(classes, 3).float()
    binary = torch.tensor([0.0, 1.0]).repeat(8, 1)
    none = {"reduction": "none"}
    unary = "abs exp log sqrt rsqrt sin cos tanh sigmoid relu reciprocal square sign floor".split()
    pairs = "add sub mul div pow maximum minimum".split()
    losses = "mse_loss l1_loss smooth_l1_loss huber_loss".split()
    bce = F.binary_cross_entropy_with_logits
    cases = {name: (getattr(torch, name), [single]) for name in unary}
    cases |= {name: (getattr(torch, name), [left, right]) for name in pairs}
    cases |= {name: (lambda x, t, loss=getattr(F, name): loss(x, t, **none), [left, right]) for name in losses}
    cases |= {
        "clamp": (lambda x: x.clamp(-1.5, 1.5), [single]),
        "clamp_reversed": (lambda x: x.clamp(3.0, -1.0), [single]),
        "leaky_relu": (lambda x: F.leaky_relu(x, 0.25), [single]),
        "silu": (F.silu, [single]),
        "gelu": (F.gelu, [single]),
        "gelu_tanh": (lambda x: F.gelu(x, approximate="tanh"), [single]),
        "pow_scalar": (lambda x: x.pow(2.5), [single]),
        "bce": (lambda x: bce(x, binary, **none), [single.expand(8, 2).clone()]),
        "bce_pos_weight": (lambda x: bce(x, binary, pos_weight=torch.tensor(2.0), **none), [single.expand(8, 2).clone()]),
        "softmax": (lambda x: x.softmax(1), [rows]),
        "log_softmax": (lambda x: x.log_softmax(1), [rows]),
        "amax": (lambda x: x.amax(1), [rows]),
        "amin": (lambda x: x.amin(1), [rows]),
        "sum": (lambda x: x.sum(1), [rows]),
        "mean": (lambda x: x.mean(1), [rows]),
        "cross_entropy": (lambda x: F.cross_entropy(x, classes, **none), [rows]),
        "cross_entropy_smooth": (lambda x: F.cross_entropy(x, classes, label_smoothing=0.1, **none), [rows]),
        "cross_entropy_shares": (lambda x: F.cross_entropy(x, shares, **none), [rows]),
        "max_pool": (lambda x: F.max_pool2d(x, (1, 2)), [planes]),
        "max_pool_relu": (lambda x: F.max_pool2d(x, (1, 2)).relu(), [planes]),
        "avg_pool": (lambda x: F.avg_pool2d(x, (1, 2)), [planes]),
        "adaptive_max_pool": (lambda x: F.adaptive_max_pool2d(x, (1, 7)), [planes]),
        "adaptive_avg_pool": (lambda x: F.adaptive_avg_pool2d(x, (1, 7)), [planes]),
        "local_response_norm": (lambda x: F.local_response_norm(x, 3), [channels]),
        "batch_norm_relu": (lambda x: F.batch_norm(x, torch.zeros(8), torch.ones(8)).relu(), [channels]),
    }
    tensors = {}
    for name, (op, inputs) in cases.items():
        for kind, start in {"one": 1.0, "nan": nan}.items():
            leaves = [x.clone().requires_grad_() for x in inputs]
            y = op(*leaves)
            y.backward(torch.full_like(y, start))
            tensors |= {f"{name}.d{i}_{kind}": leaf.grad for i, leaf in enumerate(leaves)}
        tensors |= {f"{name}.x{i}": x for i, x in enumerate(inputs)} | {f"{name}.y": y}
    save("non_finite", tensors, {name: {} for name in cases})


def record_batch_norm():
    # name: shape, offset of the values, momentum
    cases = {
        "rows": ((8, 5), 0.0, 0.1),
        "sequences": ((3, 4, 7), 1.0, 0.1),
        "images": ((4, 3, 5, 6), 0.0, 0.1),
        "far_from_zero": ((2, 2, 8, 8), 100.0, 0.1),
        "fast": ((5, 2, 3, 3), -2.0, 0.7),
        "two_elements": ((2, 3), 0.0, 0.1),
    }
    tensors = {}
    for seed, (name, (shape, offset, momentum)) in enumerate(cases.items()):
        x = (values(9200 + seed, *shape) + offset).requires_grad_()
        weight, bias = (values(9220 + 20 * i + seed, shape[1]).requires_grad_() for i in range(2))
        mean, var = values(9260 + seed, shape[1]), values(9280 + seed, shape[1]).abs() + 0.5
        case = {"x": x, "weight": weight, "bias": bias, "start_mean": mean.clone(), "start_var": var.clone()}
        case["eval_y"] = F.batch_norm(x, mean, var, weight, bias)
        y = F.batch_norm(x, mean, var, weight, bias, training=True, momentum=momentum)
        dy = values(9300 + seed, *shape)
        y.backward(dy)
        case |= {"y": y, "dy": dy, "dx": x.grad, "dweight": weight.grad, "dbias": bias.grad}
        case |= {"end_mean": mean, "end_var": var}
        tensors |= {f"{name}.{key}": tensor for key, tensor in case.items()}
    save("batch_norm", tensors, {name: {"momentum": momentum} for name, (_, _, momentum) in cases.items()})


def record_optim():
    """25 steps down `sum(curvature * (p - target)^2) / 2 + 0.1 * sum(sin(3 p))`, for two parameters of different sizes.

    The tests recompute the gradient: `curvature * (p - target) + 0.3 * cos(3 p)`, curvature of element i being
    `0.5 + i % 4`.
    """
    sgd, adam, adamw, rmsprop = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop
    cases = {
        "sgd": (sgd, {"lr": 0.05}),
        "sgd_weight_decay": (sgd, {"lr": 0.05, "weight_decay": 0.1}),
        "sgd_momentum": (sgd, {"lr": 0.02, "momentum": 0.9}),
        "sgd_momentum_weight_decay": (sgd, {"lr": 0.02, "momentum": 0.9, "weight_decay": 5e-4}),
        "sgd_dampening": (sgd, {"lr": 0.05, "momentum": 0.8, "dampening": 0.3}),
        "sgd_nesterov": (sgd, {"lr": 0.02, "momentum": 0.9, "nesterov": True}),
        "sgd_nesterov_weight_decay": (sgd, {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
        "adam": (adam, {"lr": 0.05}),
        "adam_weight_decay": (adam, {"lr": 0.05, "weight_decay": 0.1}),
        "adam_betas": (adam, {"lr": 0.02, "betas": (0.5, 0.9), "eps": 1e-4}),
        "adamw": (adamw, {"lr": 0.05, "weight_decay": 0.01}),
        "adamw_weight_decay": (adamw, {"lr": 0.05, "weight_decay": 0.3, "betas": (0.8, 0.95)}),
        "rmsprop": (rmsprop, {"lr": 0.02}),
        "rmsprop_momentum": (rmsprop, {"lr": 0.005, "momentum": 0.9, "alpha": 0.9}),
        "rmsprop_centered": (rmsprop, {"lr": 0.01, "centered": True, "weight_decay": 0.1, "eps": 1e-4}),
        "rmsprop_everything": (rmsprop, {"lr": 0.005, "centered": True, "momentum": 0.8, "alpha": 0.95, "eps": 1e-3}),
    }
    shapes = {"a": (3, 5), "b": (7,)}
    tensors = {}
    for seed, (key, shape) in enumerate(shapes.items()):
        tensors[f"start.{key}"] = values(9000 + seed, *shape)
        tensors[f"target.{key}"] = values(9100 + seed, *shape)
    for name, (optimizer, options) in cases.items():
        parameters = {key: tensors[f"start.{key}"].clone().requires_grad_() for key in shapes}
        optim = optimizer(parameters.values(), **options)
        history = {key: [] for key in shapes}
        for _ in range(25):
            optim.zero_grad()
            loss = 0.0
            for key, p in parameters.items():
                curvature = (0.5 + torch.arange(p.numel()) % 4).reshape(p.shape)
                loss = loss + (curvature * (p - tensors[f"target.{key}"]) ** 2).sum() / 2 + 0.1 * torch.sin(3 * p).sum()
            loss.backward()
            optim.step()
            for key, p in parameters.items():
                history[key].append(p.detach().clone())
        tensors |= {f"{name}.{key}": torch.stack(steps) for key, steps in history.items()}
    described = {
        name: {"optimizer": optimizer.__name__.lower()} | options
        for name, (optimizer, options) in cases.items()
    }
    save("optim", tensors, described)


def record_schedule():
    """The learning rates of 25 steps from 0.1, and for the plateau the values that it was told."""
    schedules = torch.optim.lr_scheduler
    warm = lambda optim, steps, factor: schedules.LinearLR(optim, start_factor=factor, total_iters=steps)
    cases = {
        "step": lambda o: schedules.StepLR(o, 7, 0.5),
        "multi_step": lambda o: schedules.MultiStepLR(o, [3, 10, 18], 0.3),
        "exponential": lambda o: schedules.ExponentialLR(o, 0.9),
        "cosine": lambda o: schedules.CosineAnnealingLR(o, 25),
        "one_cycle": lambda o: schedules.OneCycleLR(o, max_lr=0.1, total_steps=25),
        "polynomial": lambda o: schedules.PolynomialLR(o, 25, 2.0),
        "warm_step": lambda o: schedules.SequentialLR(o, [warm(o, 5, 0.1), schedules.StepLR(o, 6, 0.5)], [5]),
        "warm_cosine": lambda o: schedules.SequentialLR(o, [warm(o, 4, 0.2), schedules.CosineAnnealingLR(o, 21)], [4]),
    }
    tensors = {}

    def run(make, advance):
        optim = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        schedule, rates = make(optim), []
        for step in range(25):
            rates.append(optim.param_groups[0]["lr"])
            optim.step()
            advance(schedule, step)
        return torch.tensor(rates)

    for name, make in cases.items():
        tensors[name] = run(make, lambda schedule, _: schedule.step())
    told = (1.0 / (1.0 + torch.arange(25.0) / 3).clamp(max=3.0) + 0.01 * values(9600, 25)).round(decimals=2)
    plateau = lambda **options: lambda o: schedules.ReduceLROnPlateau(o, factor=0.5, **options)
    tensors["told"] = told
    tensors["plateau"] = run(plateau(patience=2), lambda s, step: s.step(float(told[step])))
    tensors["plateau_max"] = run(
        plateau(patience=1, mode="max", cooldown=2, min_lr=0.02, threshold=0.05),
        lambda s, step: s.step(-float(told[step]) + 2.0),
    )
    save("schedule", tensors, {name: {} for name in cases})


def read_idx(name, rank):
    """An IDX file of unsigned bytes, gzipped: two zeros, 8 for bytes, the rank, then the sizes as big-endian u32."""
    path = IMAGES / name
    content = gzip.decompress(path.read_bytes())
    assert content[:4] == bytes([0, 0, 8, rank]), f"{path} is no IDX file of {rank} axes of bytes"
    sizes = np.frombuffer(content, ">u4", rank, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(sizes)


class LeNet5(torch.nn.Module):
    def __init__(self):
        super().__init__()
        nn = torch.nn
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(400, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, 10),
        )

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def record_lenet5(steps=20, batch=64):
    """Two runs from the same weights over the same batches. At lr 0.01 the loss hardly moves in 20 steps (a missing
    weight decay changes it by 4e-5 relative); at 0.05 it falls to 1.3 and shows every term of the update."""
    images, labels = read_idx("train-images-idx3-ubyte.gz", 3), read_idx("train-labels-idx1-ubyte.gz", 1)
    runs = {"losses": 0.01, "losses_fast": 0.05}
    options = {"momentum": 0.9, "weight_decay": 5e-4}
    mean, std = 0.2860, 0.3530
    batches = torch.arange(steps * batch).reshape(steps, batch)
    chosen = batches.numpy()
    tensors = {
        "batches": batches,
        "labels": torch.from_numpy(labels[chosen]),
        "pixel_sums": torch.from_numpy(images[chosen].astype(np.int64).sum(axis=(1, 2, 3))),
    }
    for run, lr in runs.items():
        torch.manual_seed(42)
        model = LeNet5()
        optim = torch.optim.SGD(model.parameters(), lr=lr, **options)
        tensors |= {f"initial.{name}": p.detach().clone() for name, p in model.named_parameters()}
        losses = []
        for step in range(steps):
            x = (torch.from_numpy(images[chosen[step]]).float() / 255.0 - mean) / std
            y = torch.from_numpy(labels[chosen[step]].astype(np.int64))
            logits = model(x[:, None])
            loss = F.cross_entropy(logits, y)
            optim.zero_grad()
            loss.backward()
            if step == 0:
                tensors["logits"] = logits
                tensors |= {f"gradient.{name}": p.grad.clone() for name, p in model.named_parameters()}
            optim.step()
            losses.append(loss.detach())
        tensors[run] = torch.stack(losses)
        print(run, " ".join(f"{loss.item():.4f}" for loss in losses))
    save("lenet5", tensors, {run: options | {"lr": lr, "mean": mean, "std": std} for run, lr in runs.items()})


def record_files():
    folder = HERE / "torch"
    folder.mkdir(exist_ok=True)
    old = {"_use_new_zipfile_serialization": False}
    count = torch.arange(24, dtype=torch.float32)
    types = {"f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
    types |= {"i64": torch.int64, "i32": torch.int32, "i16": torch.int16, "i8": torch.int8, "u8": torch.uint8}
    every = {name: (count[:6] * 2 - (0 if name == "u8" else 5)).reshape(2, 3).to(dtype) for name, dtype in types.items()}
    every |= {"bool": count[:6] % 2 == 1, "scalar": torch.tensor(7), "parameter": torch.nn.Parameter(count[:2])}
    base = count.reshape(4, 6)
    views = {"whole": base, "tied": base, "transposed": base.t(), "row": base[2], "column": base[:, 1]}
    views |= {"window": base[1:3, 2:5], "single": base[3, 5], "empty": base[:, :0], "bf16": base.bfloat16().t()}
    model = torch.nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.copy_(count[:6].reshape(2, 3) / 4)
        model.bias.copy_(count[:2] - 1)
    optim = torch.optim.Adam(model.parameters(), lr=0.01)
    model(count[:3]).sum().backward()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    optim.step()
    model.load_state_dict(state)
    checkpoint = {"epoch": 3, "best": 0.5, "args": argparse.Namespace(lr=0.1), "optimizer": optim.state_dict()}
    checkpoint |= {"state_dict": model.state_dict()}
    for name, options in {"zip": {}, "legacy": old}.items():
        torch.save(every, folder / f"types_{name}.pth", **options)
        torch.save(views, folder / f"views_{name}.pth", **options)
        torch.save(checkpoint, folder / f"checkpoint_{name}.pth", **options)
    torch.save({"model": {"module": model.state_dict()}}, folder / "protocol4.pth", pickle_protocol=4)
    torch.save(model, folder / "object.pth")
    torch.save({"w": torch.ones(1).expand(1000)}, folder / "expanded.pth")
    torch.save({"epoch": 3, "loss": 0.5}, folder / "nothing.pth")
    record_checkpoints(folder, model, {"optimizer": optim.state_dict()})


def record_checkpoints(folder, model, optimizer):
    """What training programs save: the weights of a Linear(3, 2) beside other things."""
    weights = model.state_dict()
    averaged = {name: value + 1 for name, value in weights.items()}
    # PyTorch's ImageNet example.
    imagenet = {"epoch": 3, "arch": "alexnet", "state_dict": weights, "best_acc1": torch.tensor(56.5), **optimizer}
    torch.save(imagenet, folder / "imagenet.pth")
    averages = {"epoch": 3, "model_ema": averaged, "best": torch.tensor([56.5]), "model": weights, **optimizer}
    torch.save(averages, folder / "averages.pth")
    torch.save({"generator": weights, "discriminator": averaged}, folder / "several.pth")
    torch.save({"mine": weights, "best_acc1": torch.tensor([56.5]), "_extra": b"abc"}, folder / "unusual.pth")
    lightning = {"model." + name: value for name, value in weights.items()} | {"loss.weight": torch.ones(4)}
    lightning = {"state_dict": lightning, "hyper_parameters": {"weights": torch.ones(2)}, "loops": {}}
    torch.save(lightning, folder / "lightning.pth")
    torch.save(torch.nn.DataParallel(model).state_dict() | {"extra": 3}, folder / "parallel.pth")
    torch.save({"model": model, "epoch": 1}, folder / "object_inside.pth")
    torch.jit.save(torch.jit.script(model), folder / "script.pth")
    quantized = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    torch.save({"state_dict": weights | {"q": quantized}}, folder / "quantized.pth")
    torch.save({"state_dict": weights, "q": quantized, "c": torch.ones(2) * 1j}, folder / "quantized_beside.pth")
    torch.serialization.set_crc32_options(False)
    torch.save(weights, folder / "no_sums.pth")
    torch.serialization.set_crc32_options(True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.backends.mkldnn.enabled = False
    record_conv2d()
    record_conv_transpose2d()
    record_pool()
    record_softmax()
    record_cross_entropy()
    record_class_loss()
    record_adaptive_pool()
    record_interpolate()
    record_local_response_norm()
    record_activation()
    record_elementwise_loss()
    record_non_finite()
    record_batch_norm()
    record_optim()
    record_schedule()
    record_lenet5()
    record_files()
