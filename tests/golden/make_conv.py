"""Convolution and transposed convolution with their gradients."""
import torch
import torch.nn.functional as F
from golden_format import GoldenFile, grid

g = torch.Generator().manual_seed(1)


def pick(low, high):
    return int(torch.randint(low, high + 1, (1,), generator=g))


def axis(size, offset, kernel, stride, dilation, out, clamp):
    """Source positions that `out` windows span, and which of them lie in the image."""
    extent = (kernel - 1) * dilation + 1
    first = offset - extent // 2
    at = torch.arange(first, first + (out - 1) * stride + extent)
    inside = (at >= 0) & (at < size)
    return at.clamp(0, size - 1), torch.ones_like(at) if clamp else inside.long()


def gather(x, ys, xs):
    (iy, my), (ix, mx) = ys, xs
    return x[:, :, iy][:, :, :, ix] * my[:, None] * mx


def conv():
    f = GoldenFile("conv.txt", "F.conv2d on gathered windows, gradients by autograd. weights: [output][ky][kx][input]")
    for i in range(48):
        depthwise = i % 8 == 7
        groups = 2 if i % 8 == 3 else 1
        cin = 8 if groups == 2 else pick(1, 6)
        cout = 8 if groups == 2 else pick(1, 6)
        if depthwise:
            groups, cout = cin, cin
        n, h, w = pick(1, 2), pick(3, 8), pick(3, 8)
        k, s, d = (pick(1, 4), pick(1, 4)), (pick(1, 3), pick(1, 3)), (pick(1, 2), pick(1, 2))
        o = (pick(-1, 2), pick(-1, 2))
        out = (pick(1, 5), pick(1, 5))
        clamp = i % 3 == 2
        x = grid(g, (n, cin, h, w)).requires_grad_()
        wt = grid(g, (cout, cin // groups, k[0], k[1])).requires_grad_()
        b = grid(g, (cout,)).requires_grad_()
        y = F.conv2d(
            gather(x, axis(h, o[0], k[0], s[0], d[0], out[0], clamp), axis(w, o[1], k[1], s[1], d[1], out[1], clamp)),
            wt, b, stride=s, dilation=d, groups=groups)
        assert y.shape[2:] == out
        dy = grid(g, tuple(y.shape))
        y.backward(dy)
        f.case(f"conv{i}")
        f.word(edge="Clamp" if clamp else "Zero")
        f.number(depthwise=depthwise, groups=1 if depthwise else groups, kernelHeight=k[0], kernelWidth=k[1],
                 strideY=s[0], strideX=s[1], dilationY=d[0], dilationX=d[1], offsetY=o[0], offsetX=o[1])
        f.tensor(source=x, weights=wt, bias=b.reshape(1, -1, 1, 1), result=y, gradient=dy, sourceGradient=x.grad,
                 weightGradient=wt.grad, biasGradient=b.grad.reshape(1, -1, 1, 1))
    f.close()


def transpose():
    f = GoldenFile("conv_transpose.txt",
                   "F.conv_transpose2d, gradients by autograd. weights as PyTorch has them: [input][ky][kx][output/groups]")
    for i in range(24):
        groups = 2 if i % 6 == 5 else 1
        cin, cout = (8, 8) if groups == 2 else (pick(1, 5), pick(1, 5))
        n, h, w = pick(1, 2), pick(1, 5), pick(1, 5)
        k, s, d = (pick(1, 4), pick(1, 4)), (pick(1, 3), pick(1, 3)), (pick(1, 2), pick(1, 2))
        p = (pick(0, k[0] - 1), pick(0, k[1] - 1))
        op = (pick(0, max(s[0], d[0]) - 1), pick(0, max(s[1], d[1]) - 1))
        size = [(a - 1) * st - 2 * pa + dl * (kk - 1) + o + 1 for a, st, pa, dl, kk, o in zip((h, w), s, p, d, k, op)]
        if min(size) < 1:
            continue
        x = grid(g, (n, cin, h, w)).requires_grad_()
        wt = grid(g, (cin, cout // groups, k[0], k[1])).requires_grad_()
        b = grid(g, (cout,)).requires_grad_()
        y = F.conv_transpose2d(x, wt, b, stride=s, padding=p, output_padding=op, groups=groups, dilation=d)
        dy = grid(g, tuple(y.shape))
        y.backward(dy)
        f.case(f"transpose{i}")
        f.number(groups=groups, kernelHeight=k[0], kernelWidth=k[1], strideY=s[0], strideX=s[1], dilationY=d[0],
                 dilationX=d[1], paddingY=p[0], paddingX=p[1])
        f.tensor(source=x, weights=wt, bias=b.reshape(1, -1, 1, 1), result=y, gradient=dy, sourceGradient=x.grad,
                 weightGradient=wt.grad, biasGradient=b.grad.reshape(1, -1, 1, 1))
    f.close()


conv()
transpose()
