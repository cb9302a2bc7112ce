"""Upsampling and its gradients: F.interpolate for nearest and for bilinear with aligned corners; bilinear without them
by an explicit matrix, coordinate x / scale, the last pixel repeated (Clamp) or followed by zeros (Zero)."""
import torch
import torch.nn.functional as F
from golden_format import GoldenFile, grid

g = torch.Generator().manual_seed(12)


def pick(low, high):
    return int(torch.randint(low, high + 1, (1,), generator=g))


def matrix(size, scale, clamp):
    m = torch.zeros(size * scale, size)
    for x in range(size * scale):
        i, t = x // scale, (x % scale) / scale
        m[x, i] += 1 - t
        if t and i + 1 < size:
            m[x, i + 1] += t
        elif t and clamp:
            m[x, i] += t
    return m


f = GoldenFile("upsampling.txt", "F.interpolate(nearest, bilinear align_corners=True), matrices; gradients by autograd")
for i in range(32):
    n, c, h, w = pick(1, 2), pick(1, 5), pick(1, 5), pick(1, 5)
    s = (pick(1, 4), pick(1, 4))
    x = grid(g, (n, c, h, w)).requires_grad_()
    kind = ("nearest", "aligned", "clamp", "zero")[i % 4]
    if kind == "nearest":
        y = F.interpolate(x, scale_factor=s, mode="nearest")
    elif kind == "aligned":
        y = F.interpolate(x, size=(h * s[0], w * s[1]), mode="bilinear", align_corners=True)
    else:
        y = matrix(h, s[0], kind == "clamp") @ x @ matrix(w, s[1], kind == "clamp").T
    dy = grid(g, tuple(y.shape))
    y.backward(dy)
    f.case(f"{kind}{i}")
    f.word(kind=kind)
    f.number(scaleY=s[0], scaleX=s[1])
    f.tensor(source=x, result=y, gradient=dy, sourceGradient=x.grad)
f.close()
