"""Grid samples, resizes with aligned corners and Gram matrices with their gradients."""
import torch
import torch.nn.functional as F
from golden_format import GoldenFile, grid

g = torch.Generator().manual_seed(29)


def pick(low, high):
    return int(torch.randint(low, high + 1, (1,), generator=g))


f = GoldenFile("resample.txt", "F.grid_sample and F.interpolate, align_corners=True; einsum and autograd")
for i in range(18):
    kind = ("grid", "align", "gram")[i % 3]
    n, c, h, w = pick(1, 2), pick(1, 5), pick(2, 4), pick(2, 5)
    x = grid(g, (n, c, h, w))
    f.case(f"{kind}{i}")
    f.word(kind=kind)
    if kind == "grid":
        oh, ow = pick(1, 4), pick(1, 4)
        border = pick(0, 1)
        # pixel coordinates, some outside; PyTorch wants them between -1 and 1
        at = torch.stack([grid(g, (n, oh, ow), -2, w + 1), grid(g, (n, oh, ow), -2, h + 1)], dim=-1)
        scaled = torch.stack([2 * at[..., 0] / (w - 1) - 1, 2 * at[..., 1] / (h - 1) - 1], dim=-1)
        y = F.grid_sample(x, scaled, mode="bilinear", padding_mode="border" if border else "zeros", align_corners=True)
        f.number(border=border)
        f.tensor(source=x, grid=at.permute(0, 3, 1, 2), result=y)
    elif kind == "align":
        oh, ow = pick(1, 6), pick(2, 7)
        f.tensor(source=x, result=F.interpolate(x, size=(oh, ow), mode="bilinear", align_corners=True))
    else:
        alpha = (1.0, 0.25)[pick(0, 1)]
        x.requires_grad_()
        # result: width c, one row, c channels
        y = alpha * torch.einsum("ncyx,nfyx->ncf", x, x).unsqueeze(2)
        dy = grid(g, tuple(y.shape))
        y.backward(dy)
        f.number(alpha=alpha)
        f.tensor(source=x, result=y, gradient=dy, sourceGradient=x.grad)
f.close()
