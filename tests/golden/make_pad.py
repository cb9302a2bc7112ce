"""Padding along x, y and channels in all five modes, by numpy.pad, and its gradient by autograd through the index maps that
numpy.pad gives."""
import numpy as np
import torch
from golden_format import GoldenFile, grid

g = torch.Generator().manual_seed(23)


def pick(low, high):
    return int(torch.randint(low, high + 1, (1,), generator=g))


f = GoldenFile("pad.txt", "numpy.pad (constant, edge, reflect, symmetric); the gradient by indexing and autograd")
for i in range(25):
    edge = i % 5  # the documented numbers: zero, clamp, mirror, mirror with edge, constant
    n, c, h, w = 1, pick(1, 3), pick(1, 3), pick(1, 4)
    sides = [(pick(0, 3), pick(0, 2)) for _ in range(3)]  # channels, y, x
    fill = 0.0 if edge != 4 else 0.75
    x = grid(g, (n, c, h, w)).requires_grad_()
    # numpy pads a grid of positions; autograd sees plain indexing
    positions = np.arange(1, n * c * h * w + 1).reshape(n, c, h, w)
    mode = {0: "constant", 1: "edge", 2: "reflect", 3: "symmetric", 4: "constant"}[edge]
    padded = torch.from_numpy(np.pad(positions, [(0, 0)] + sides, mode=mode))
    y = torch.cat([torch.tensor([fill]), x.reshape(-1)])[padded]
    if edge < 4:
        assert np.array_equal(y.detach().numpy(), np.pad(x.detach().numpy(), [(0, 0)] + sides, mode=mode))
    dy = grid(g, tuple(y.shape))
    y.backward(dy)
    f.case(f"pad{i}")
    f.number(edge=edge, front=sides[0][0], behind=sides[0][1], above=sides[1][0], below=sides[1][1], left=sides[2][0],
             right=sides[2][1], fill=fill)
    f.tensor(source=x, result=y, gradient=dy, sourceGradient=x.grad)
f.close()
