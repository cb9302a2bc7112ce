"""Normalizations and their gradients. Local response, spatial and contrast windows, batch, instance and group."""
import torch
import torch.nn.functional as F
from golden_format import GoldenFile, grid

g = torch.Generator().manual_seed(7)


def pick(low, high):
    return int(torch.randint(low, high + 1, (1,), generator=g))


def box(x, k):
    """Mean of a k x k window with zeros outside that count; even windows reach one pixel further up and left."""
    return F.avg_pool2d(F.pad(x, (k // 2, (k - 1) // 2, k // 2, (k - 1) // 2)), k, 1)


def finish(f, x, y, *parameters):
    dy = grid(g, tuple(y.shape))
    y.backward(dy)
    f.tensor(source=x, result=y, gradient=dy, sourceGradient=x.grad)
    for name, p in parameters:
        f.tensor(**{name: p.reshape(1, -1, 1, 1), name + "Gradient": p.grad.reshape(1, -1, 1, 1)})


f = GoldenFile("local_normalization.txt", "F.local_response_norm; spatial and contrast by F.avg_pool2d; autograd")
for i in range(24):
    n, c, h, w = pick(1, 2), pick(1, 9), pick(3, 6), pick(3, 6)
    kind = ("cross", "spatial", "contrast")[i % 3]
    k = pick(1, 5)
    alpha = (1e-4, 0.5, 1.0, 2.0)[pick(0, 3)]
    beta = (0.75, 0.5, 5.0, 1.25, 0.6)[pick(0, 4)]
    delta = (1.0, 2.0, 0.25)[pick(0, 2)]
    p0, pm, ps = (1.0, 0.0, 1.0) if i % 2 else (0.75, 0.125, 1.5)
    x = grid(g, (n, c, h, w)).requires_grad_()
    if kind == "cross":
        y = F.local_response_norm(x, k, alpha=alpha, beta=beta, k=delta)
    elif kind == "spatial":
        y = x * (delta + alpha * box(x * x, k)) ** -beta
    else:
        m = box(x, k)
        y = pm + ps * (x - p0 * m) * (delta + alpha * (box(x * x, k) - m * m)) ** -beta
    f.case(f"{kind}{i}")
    f.word(kind=kind)
    f.number(kernelSize=k, alpha=alpha, beta=beta, delta=delta, p0=p0, pm=pm, ps=ps)
    finish(f, x, y)
f.close()

f = GoldenFile("normalization.txt", "F.batch_norm, F.instance_norm, F.group_norm, gradients by autograd")
for i in range(24):
    kind = ("batch", "instance", "group", "inference")[i % 4]
    n, h, w = pick(1, 3), pick(2, 6), pick(2, 6)
    groups = pick(1, 3)
    c = groups * pick(1, 4) if kind == "group" else pick(1, 7)
    epsilon = (1e-5, 1e-3, 0.125)[pick(0, 2)]
    x = grid(g, (n, c, h, w)).requires_grad_()
    gamma, beta = grid(g, (c,)).requires_grad_(), grid(g, (c,)).requires_grad_()
    mean, variance = grid(g, (c,)), grid(g, (c,), 0.25, 2)
    f.case(f"{kind}{i}")
    if kind == "instance":
        y = F.instance_norm(x, weight=gamma, bias=beta, eps=epsilon)
    elif kind == "group":
        y = F.group_norm(x, groups, gamma, beta, epsilon)
    else:
        y = F.batch_norm(x, mean.clone(), variance.clone(), gamma, beta, kind == "batch", eps=epsilon)
    f.word(kind=kind)
    f.number(epsilon=epsilon, groups=groups)
    f.tensor(mean=mean.reshape(1, -1, 1, 1), variance=variance.reshape(1, -1, 1, 1))
    finish(f, x, y, ("gamma", gamma), ("beta", beta))
f.close()
