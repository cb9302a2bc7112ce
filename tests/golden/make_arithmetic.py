"""Sums, differences and products of two images with every way to repeat an operand, and their gradients."""
import torch
from golden_format import GoldenFile, grid

g = torch.Generator().manual_seed(17)


def pick(low, high):
    return int(torch.randint(low, high + 1, (1,), generator=g))


f = GoldenFile("arithmetic.txt", "torch.clamp(op(scale a, scale b) + bias, min, max) with broadcasting; autograd")
for i in range(24):
    op = ("add", "sub", "mul")[i % 3]
    n, c, h, w = pick(1, 2), pick(2, 5), pick(2, 3), pick(2, 4)
    keeps = [pick(0, 2) for _ in range(3)]  # 0: the first operand is repeated along the axis, 1: the second, 2: neither
    if i < 3:
        keeps = [2, 2, 2]
    shape = [[n] + [1 if k == side else e for k, e in zip(keeps, (c, h, w))] for side in (0, 1)]
    a, b = (grid(g, tuple(s)).requires_grad_() for s in shape)
    pa, pb = ((1, 1), (2, -0.5), (0.75, 1.5))[pick(0, 2)]
    bias = (0, 0.25)[pick(0, 1)]
    # between the values that the inputs can give: nothing lies on a limit
    low, high = ((-1e30, 1e30), (-1 - 1 / 65536, 1.5 + 1 / 65536))[pick(0, 1)]
    raw = {"add": lambda: pa * a + pb * b, "sub": lambda: pa * a - pb * b, "mul": lambda: (pa * a) * (pb * b)}[op]() + bias
    y = torch.clamp(raw, low, high)
    dy = grid(g, tuple(y.shape))
    y.backward(dy)
    f.case(f"{op}{i}")
    f.word(op=op)
    f.number(primaryScale=pa, secondaryScale=pb, bias=bias, minimum=low, maximum=high)
    f.tensor(primary=a, secondary=b, result=y, gradient=dy, primaryGradient=a.grad, secondaryGradient=b.grad)
f.close()
