"""Trajectories of torch.optim over five steps with given gradients, constant learning rate."""
import torch
from golden_format import GoldenFile, grid

g = torch.Generator().manual_seed(4)
f = GoldenFile("optimizer.txt", "torch.optim, five steps; values1..values5 after each")
optim = torch.optim
# Adam adds epsilon after the bias correction here and before it there: an epsilon of 0 makes the two equal
table = {
    "sgd": (lambda p: optim.SGD(p, lr=0.125), {}),
    "sgd_momentum": (lambda p: optim.SGD(p, lr=0.125, momentum=0.875), dict(momentum=0.875)),
    "sgd_l2": (lambda p: optim.SGD(p, lr=0.125, momentum=0.875, weight_decay=0.0625), dict(momentum=0.875, l2=0.0625)),
    "sgd_nesterov": (lambda p: optim.SGD(p, lr=0.125, momentum=0.875, nesterov=True), dict(momentum=0.875)),
    "rmsprop": (lambda p: optim.RMSprop(p, lr=0.125, alpha=0.875, eps=1e-3), dict(decay=0.875, epsilon=1e-3)),
    "rmsprop_l2": (lambda p: optim.RMSprop(p, lr=0.125, alpha=0.875, eps=1e-3, weight_decay=0.25),
                   dict(decay=0.875, epsilon=1e-3, l2=0.25)),
    "adam": (lambda p: optim.Adam(p, lr=0.125, betas=(0.875, 0.96875), eps=0), dict(beta1=0.875, beta2=0.96875, epsilon=0)),
    "adam_l2": (lambda p: optim.Adam(p, lr=0.125, betas=(0.875, 0.96875), eps=0, weight_decay=0.25),
                dict(beta1=0.875, beta2=0.96875, epsilon=0, l2=0.25)),
    "amsgrad": (lambda p: optim.Adam(p, lr=0.125, betas=(0.875, 0.96875), eps=0, amsgrad=True),
                dict(beta1=0.875, beta2=0.96875, epsilon=0)),
}
for name, (make, numbers) in table.items():
    values = grid(g, (12,)).requires_grad_()
    optimizer = make([values])
    f.case(name)
    f.number(learningRate=0.125, **{"l2": 0, **numbers})
    f.tensor(values0=values.reshape(1, -1, 1, 1))
    for step in range(1, 6):
        values.grad = grid(g, (12,)) + 1 / 128
        if step > 2 and name == "amsgrad":
            values.grad = values.grad / 8  # lets the maximum differ from the velocity
        f.tensor(**{f"gradient{step}": values.grad.reshape(1, -1, 1, 1)})
        optimizer.step()
        f.tensor(**{f"values{step}": values.reshape(1, -1, 1, 1)})
f.close()
