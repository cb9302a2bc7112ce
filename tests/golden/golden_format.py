"""Writes golden files: plain text, one case after the other (the reader is tests/support/golden.hpp).

Inputs are multiples of 1/128, so that they are exact in every floating-point format of the library. Tensors are given as
PyTorch has them, (N, C, H, W), and written in [n][y][x][c] order.

To write all files again (same PyTorch, same bytes):
    python3 -m venv venv && venv/bin/pip install torch==2.15.0
    for s in arithmetic conv conv_kinds normalization optimizers pad pointwise pooling reductions upsampling yolo; do venv/bin/python tests/golden/make_$s.py; done
"""
import os

import torch

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


def grid(generator, shape, low=-2.0, high=2.0):
    """Random multiples of 1/64 in [low, high]."""
    return torch.randint(int(low * 64), int(high * 64) + 1, shape, generator=generator).to(torch.float64) / 64


def distinct(generator, shape, step=1 / 64):
    """Different values everywhere, both signs, never 0, for operations with ties."""
    count = 1
    for s in shape:
        count *= s
    return ((torch.randperm(count, generator=generator).to(torch.float64) - count // 2 + 0.5) * step).reshape(shape)


class GoldenFile:
    def __init__(self, name, what):
        self.path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ops", name)
        script = os.path.basename(__import__("sys").argv[0])
        self.lines = [f"# {what}", f"# PyTorch {torch.__version__.split('+')[0]}, float64; made by {script}"]

    def case(self, name):
        self.lines.append(f"case {name}")

    def word(self, **values):
        self.lines += [f"word {k} {v}" for k, v in values.items()]

    def number(self, **values):
        self.lines += [f"number {k} {float(v):.17g}" for k, v in values.items()]

    def tensor(self, **values):
        for key, value in values.items():
            t = value.detach()
            assert t.dim() == 4, key
            n, c, h, w = t.shape
            self.lines.append(f"tensor {key} {n} {h} {w} {c}")
            flat = [f"{v:.10g}" for v in t.permute(0, 2, 3, 1).reshape(-1).tolist()]
            self.lines += [" ".join(flat[i : i + 16]) for i in range(0, len(flat), 16)]

    def close(self):
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with open(self.path, "w") as f:
            f.write("\n".join(self.lines) + "\n")
        print(self.path, os.path.getsize(self.path), "bytes")
