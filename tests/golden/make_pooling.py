"""Pooling and its gradients. padding is the framework's left and top padding: offset = extent div 2 - padding."""
import torch
import torch.nn.functional as F
from golden_format import GoldenFile, distinct, grid

g = torch.Generator().manual_seed(2)


def pick(low, high):
    return int(torch.randint(low, high + 1, (1,), generator=g))


f = GoldenFile("pooling.txt", "F.max_pool2d, F.avg_pool2d, F.lp_pool2d, gradients by autograd")
for i in range(48):
    n, c, h, w = pick(1, 2), pick(1, 5), pick(5, 9), pick(5, 9)
    k = (pick(1, 4), pick(1, 4))
    s = (pick(1, 3), pick(1, 3))
    p = (pick(0, k[0] // 2), pick(0, k[1] // 2))
    ceil = i % 2 == 1
    d = (1, 1)
    zero_pad = (0, 0)
    kind = ("max", "max_zero", "average_exclude", "average_include", "l2", "max_dilated")[i % 6]
    x = (distinct if kind.startswith("max") else grid)(g, (n, c, h, w)).requires_grad_()
    edge = "Clamp"
    name = "max" if kind.startswith("max") else "l2" if kind == "l2" else "average"
    if kind == "max":
        y = F.max_pool2d(x, k, s, p, ceil_mode=ceil)
    elif kind == "max_zero":
        edge = "Zero"  # zeros outside the image take part in the maximum
        y = F.max_pool2d(F.pad(x, (p[1], p[1], p[0], p[0])), k, s)
    elif kind == "average_exclude":
        y = F.avg_pool2d(x, k, s, p, ceil_mode=ceil, count_include_pad=False)
    elif kind == "average_include":
        y = F.avg_pool2d(x, k, s, p, ceil_mode=ceil, count_include_pad=True)
        zero_pad = p
        if not ceil:
            edge = "Zero"
    elif kind == "l2":
        edge = "Zero" if ceil else "Clamp"
        padded = F.pad(x, (p[1], p[1], p[0], p[0]), mode="constant" if ceil else "replicate")
        y = F.lp_pool2d(padded, 2, k, s)
    else:
        d = (pick(1, 3), pick(1, 3))
        k = tuple(min(kk, 2 if dd == 3 else 3) for kk, dd in zip(k, d))
        extent = [(kk - 1) * dd + 1 for kk, dd in zip(k, d)]
        p = (pick(0, extent[0] // 2), pick(0, extent[1] // 2))
        edge = "Zero" if ceil else "Clamp"
        padded = F.pad(x, (p[1], p[1], p[0], p[0]), mode="constant" if ceil else "replicate")
        y = F.max_pool2d(padded, k, s, dilation=d)
    dy = grid(g, tuple(y.shape))
    y.backward(dy)
    f.case(f"{kind}{i}")
    f.word(kind=name, edge=edge)
    f.number(kernelHeight=k[0], kernelWidth=k[1], strideY=s[0], strideX=s[1], dilationY=d[0], dilationX=d[1],
             paddingY=p[0], paddingX=p[1], zeroPadSizeY=zero_pad[0], zeroPadSizeX=zero_pad[1])
    f.tensor(source=x, result=y, gradient=dy, sourceGradient=x.grad)
f.close()
