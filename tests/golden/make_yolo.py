"""The anchor-box loss written with tensors, gradients by autograd."""
import torch
import torch.nn.functional as F
from golden_format import GoldenFile, grid

g = torch.Generator().manual_seed(5)
anchors = torch.tensor([[1.0, 1.0], [2.0, 1.0], [0.75, 2.5]])
classes, height, width, images = 3, 3, 4, 2
a, per = len(anchors), 5 + classes


def iou(p, q):
    low = torch.maximum(p[..., :2] - p[..., 2:] / 2, q[..., :2] - q[..., 2:] / 2)
    high = torch.minimum(p[..., :2] + p[..., 2:] / 2, q[..., :2] + q[..., 2:] / 2)
    inter = (high - low).clamp(min=0).prod(-1)
    return inter / (p[..., 2:].prod(-1) + q[..., 2:].prod(-1) - inter)


f = GoldenFile("yolo.txt", "anchor-box loss: squared error, Huber, sigmoid and softmax cross entropy")
for i, (rescore, weighted) in enumerate([(True, False), (False, False), (True, True)]):
    y = (grid(g, (images, height, width, a, per)) + 1 / 128).requires_grad_()
    t = torch.zeros(images, height, width, a, per)
    t[..., 5:] = 1 / classes
    for n, r, c, kind in [(0, 0, 1, 0), (0, 2, 3, 1), (1, 1, 0, 2), (1, 2, 2, 0), (1, 0, 0, 1)]:
        box = torch.cat([grid(g, (2,), 0.05, 0.95), grid(g, (2,), 0.5, 2.5)])
        t[n, r, c, :, :4] = box
        t[n, r, c, :, 4] = 1
        t[n, r, c, :, 5:] = F.one_hot(torch.tensor(kind), classes).double()
    w = grid(g, (images, height, width, a, per), 0, 2) if weighted else torch.ones(images, height, width, a, per)
    fit = iou(F.pad(anchors, (2, 0)).expand(t[..., :4].shape), F.pad(t[..., 2:4], (2, 0)))
    obj = (t[..., 4] == 1) & ((fit == fit.max(-1, keepdim=True).values) | (fit > 0.7))
    noobj = ~obj & (fit < 0.3)
    near = torch.minimum((fit - 0.7).abs(), (fit - 0.3).abs()).min()
    assert near > 1e-3 and obj.any() and noobj.any() and (~obj & ~noobj).any(), "draw again"
    xy = torch.sigmoid(y[..., :2])
    box = torch.cat([xy, torch.exp(y[..., 2:4]) * anchors], -1)
    target = (iou(box, t[..., :4]).detach() if rescore else torch.ones_like(fit)) * obj
    o = obj[..., None]
    terms = torch.cat([
        10 * o * F.mse_loss(xy, t[..., :2], reduction="none"),
        10 * o * F.huber_loss(y[..., 2:4], torch.log(t[..., 2:4] / anchors + 1e-5), reduction="none"),
        ((100 * obj + 5 * noobj) * F.binary_cross_entropy_with_logits(y[..., 4], target, reduction="none"))[..., None],
        2 * o * -(t[..., 5:] * F.log_softmax(y[..., 5:], -1))], -1) * w
    # the kernel's softmax gradient is softmax - label, weighted by channel: the derivative only where weights are equal
    terms.sum().backward()
    gradient = y.grad.clone()
    gradient[..., 5:] = 2 * o * w[..., 5:] * (torch.softmax(y[..., 5:], -1) - t[..., 5:])
    if not weighted:
        assert torch.allclose(gradient, y.grad)
    image = lambda v: v.reshape(images, height, width, a * per).permute(0, 3, 1, 2)
    f.case(f"yolo{i}")
    f.number(rescore=rescore)
    f.tensor(anchors=anchors.reshape(1, -1, 1, 1), predictions=image(y), labels=image(t), weights=image(w),
             elements=image(terms), gradient=image(gradient))
f.close()
