"""Sub-pixel and binary convolution, put together from PyTorch's operators."""
import torch
import torch.nn.functional as F
from golden_format import GoldenFile, grid

g = torch.Generator().manual_seed(2)


def pick(low, high):
    return int(torch.randint(low, high + 1, (1,), generator=g))


def depth_to_space(y, r):
    """Channel C * (r * row + column) + c becomes channel c of pixel (column, row) of a block."""
    n, channels, h, w = y.shape
    y = y.reshape(n, r, r, channels // (r * r), h, w)  # n, row, column, c, h, w
    return y.permute(0, 3, 4, 1, 5, 2).reshape(n, channels // (r * r), h * r, w * r)


def sub_pixel():
    f = GoldenFile("conv_sub_pixel.txt",
                   "F.conv2d, then TensorFlow's depth-to-space. weights: [output][ky][kx][input]; padding on all sides")
    for i in range(8):
        r, cin, c, k, s = pick(2, 3), pick(1, 5), pick(1, 4), pick(1, 3), pick(1, 2)
        n, h, w, p = 1 + i % 2, pick(3, 4), pick(3, 4), (k - 1) // 2
        x, wt, b = grid(g, (n, cin, h, w)), grid(g, (c * r * r, cin, k, k)), grid(g, (c * r * r,))
        y = depth_to_space(F.conv2d(x, wt, b, stride=s, padding=p), r)
        f.case(f"subpixel{i}")
        f.number(scale=r, kernel=k, stride=s, padding=p)
        f.tensor(source=x, weights=wt, bias=b.reshape(1, -1, 1, 1), result=y)
    f.close()


def binary():
    f = GoldenFile("conv_binary.txt",
                   "F.conv2d of signs; bits: 1 stands for +1, [output][ky][kx][input]; padding 0 (as a bit 1) on all sides")
    for i in range(12):
        kind = ("BinaryWeights", "XNOR", "AND")[i % 3]
        cin, cout, k, s = (1, 3, 33, 40)[i % 4], pick(1, 5), pick(1, 3), pick(1, 2)
        n, h, w, p = 1 + i % 2, pick(3, 4), pick(3, 4), (k - 1) // 2
        x, bits = grid(g, (n, cin, h, w)), torch.randint(0, 2, (cout, cin, k, k), generator=g).double()
        input_bias, input_scale = grid(g, (cin,)), 2.0 ** torch.randint(-1, 2, (cin,), generator=g) * (
            2.0 * torch.randint(0, 2, (cin,), generator=g) - 1)
        output_bias, output_scale = grid(g, (cout,)), grid(g, (cout,))
        u = F.pad((x + input_bias.reshape(1, -1, 1, 1)) * input_scale.reshape(1, -1, 1, 1), (p, p, p, p))
        h01 = (u >= 0).double()
        if kind == "BinaryWeights":
            total = F.conv2d(u, 2 * bits - 1, stride=s)
        elif kind == "XNOR":
            total = F.conv2d(2 * h01 - 1, 2 * bits - 1, stride=s)
        else:
            total = F.conv2d(h01, bits, stride=s)
        scaled = i % 2 == 1
        if scaled:
            total = total * F.avg_pool2d(u.abs().mean(1, keepdim=True), k, s)
        y = total * output_scale.reshape(1, -1, 1, 1) + output_bias.reshape(1, -1, 1, 1)
        f.case(f"binary{i}")
        f.word(type=kind)
        f.number(kernel=k, stride=s, padding=p, beta=scaled)
        f.tensor(source=x, bits=bits, inputBias=input_bias.reshape(1, -1, 1, 1),
                 inputScale=input_scale.reshape(1, -1, 1, 1), outputBias=output_bias.reshape(1, -1, 1, 1),
                 outputScale=output_scale.reshape(1, -1, 1, 1), result=y)
    f.close()


sub_pixel()
binary()
