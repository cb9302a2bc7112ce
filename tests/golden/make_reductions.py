"""Reductions over rows (along x), columns and channels."""
import torch
from golden_format import GoldenFile, distinct, grid

g = torch.Generator().manual_seed(21)


def pick(low, high):
    return int(torch.randint(low, high + 1, (1,), generator=g))


f = GoldenFile("reductions.txt", "amin, amax, mean, sum, argmin, argmax; weighted sums over channels")
axes = {"row": 3, "column": 2, "channels": 1}
for i in range(12):
    axis = list(axes)[i % 3]
    d = axes[axis]
    x = distinct(g, (pick(1, 2), pick(1, 6), pick(1, 5), pick(1, 5)))
    w = grid(g, tuple(x.shape)) * (torch.rand(x.shape, generator=g) < 0.6)
    f.case(f"{axis}{i}")
    f.word(axis=axis)
    f.tensor(source=x, min=x.amin(d, keepdim=True), max=x.amax(d, keepdim=True), mean=x.mean(d, keepdim=True),
             sum=x.sum(d, keepdim=True))
    if axis == "channels":
        count = (w != 0).sum(1, keepdim=True)
        f.tensor(argmin=x.argmin(1, keepdim=True).double(), argmax=x.argmax(1, keepdim=True).double(), weights=w,
                 weightedSum=(x * w).sum(1, keepdim=True), weightedMean=(x * w).mean(1, keepdim=True),
                 byNonZero=(x * w).sum(1, keepdim=True) / count.clamp(min=1))
f.close()
