"""Neurons, softmax and the losses, with their gradients, away from kinks."""
import torch
import torch.nn.functional as F
from golden_format import GoldenFile, grid

g = torch.Generator().manual_seed(3)


def neurons():
    f = GoldenFile("neuron.txt", "activation functions; derivative = autograd of the sum")
    a, b, c = 0.75, 1.25, 2.5
    slopes = grid(g, (5,), 0.1, 1)
    table = {
        "ReLU": (lambda x: F.leaky_relu(x, a), a, 0, 0), "Linear": (lambda x: a * x + b, a, b, 0),
        "Sigmoid": (torch.sigmoid, 0, 0, 0), "HardSigmoid": (lambda x: torch.clamp(a * x + b, 0, 1), a, b, 0),
        "TanH": (lambda x: a * torch.tanh(b * x), a, b, 0), "Absolute": (torch.abs, 0, 0, 0),
        "SoftPlus": (lambda x: F.softplus(x, beta=b, threshold=1e9) * a * b, a, b, 0),
        "SoftSign": (F.softsign, 0, 0, 0), "ELU": (lambda x: F.elu(x, a), a, 0, 0),
        "PReLU": (lambda x: F.prelu(x, slopes), 0, 0, 0),
        "ReLUN": (lambda x: torch.clamp(F.leaky_relu(x, a), max=b), a, b, 0),
        "Power": (lambda x: torch.pow(a * x + 4, c), a, 4, c),
        "Exponential": (lambda x: torch.pow(torch.tensor(c), a * x + b), a, b, c),
        "ExponentialE": (lambda x: torch.exp(a * x + b), a, b, -1),
        "Logarithm": (lambda x: torch.log(a * x + 4) / torch.log(torch.tensor(c)), a, 4, c),
        "LogarithmE": (lambda x: torch.log(a * x + 4), a, 4, -1),
        "GeLU": (lambda x: F.gelu(x, approximate="none"), 0, 0, 0),
    }
    for name, (function, pa, pb, pc) in table.items():
        # odd multiples of 1/128: never on a kink
        x = (grid(g, (1, 5, 3, 3), -4, 4) + 1 / 128).requires_grad_()
        y = function(x)
        y.sum().backward()
        f.case(name)
        f.word(type=name.removesuffix("E") if name.endswith(("lE", "mE")) else name)
        f.number(a=pa, b=pb, c=pc)
        f.tensor(source=x, result=y, derivative=x.grad, slopes=slopes.reshape(1, -1, 1, 1))
    x = torch.linspace(-120, 120, 16).reshape(1, 1, 1, 16).requires_grad_()
    for name, function in {"Sigmoid": torch.sigmoid, "SoftPlus": lambda v: F.softplus(v, threshold=1e9)}.items():
        x.grad = None
        y = function(x)
        y.sum().backward()
        f.case(name + "Far")
        f.word(type=name)
        f.number(a=1, b=1, c=0)
        f.tensor(source=x, result=y, derivative=x.grad)
    f.close()


def softmax():
    f = GoldenFile("softmax.txt", "F.softmax, F.log_softmax over channels")
    for i, (shape, scale) in enumerate([((2, 1, 1, 3), 1), ((1, 3, 2, 2), 1), ((2, 5, 2, 3), 2), ((1, 10, 1, 1), 4),
                                        ((1, 17, 2, 1), 1), ((1, 6, 2, 2), 5000)]):
        x = (grid(g, shape) * scale).requires_grad_()
        dy = grid(g, shape)
        for name, function in {"softmax": F.softmax, "log_softmax": F.log_softmax}.items():
            x.grad = None
            y = function(x, dim=1)
            y.backward(dy)
            f.case(f"{name}{i}")
            f.word(kind=name)
            f.tensor(source=x, result=y, gradient=dy, sourceGradient=x.grad)
    f.close()


def losses():
    f = GoldenFile("loss.txt", "element-wise losses; gradients by autograd with grad_output = weights")
    one_hot = lambda shape: F.one_hot(torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=g),
                                      shape[1]).movedim(-1, 1).to(torch.float64)
    delta, eps = 0.75, 1e-7
    table = {
        "MeanAbsoluteError": (lambda y, t: F.l1_loss(y, t, reduction="none"), "real"),
        "MeanSquaredError": (lambda y, t: F.mse_loss(y, t, reduction="none"), "real"),
        "SoftMaxCrossEntropy": (lambda y, t: -t * F.log_softmax(y, 1), "hot"),
        "SigmoidCrossEntropy": (lambda y, t: F.binary_cross_entropy_with_logits(y, t, reduction="none"), "unit"),
        "CategoricalCrossEntropy": (lambda y, t: -t * torch.log(y), "prob"),
        "Hinge": (lambda y, t: torch.clamp(1 - (2 * t - 1) * y, min=0), "hot"),
        "Huber": (lambda y, t: F.huber_loss(y, t, delta=delta, reduction="none"), "real"),
        "CosineDistance": (lambda y, t: -y * t, "real"),
        "Log": (lambda y, t: -t * torch.log(y + eps) - (1 - t) * torch.log(1 - y + eps), "prob"),
        "KullbackLeiblerDivergence": (lambda y, t: F.kl_div(y, t, reduction="none"), "prob"),
    }
    for name, (function, labels) in table.items():
        for i, shape in enumerate([(1, 3, 1, 1), (2, 5, 2, 3)]):
            for weighted in (False, True):
                y = (grid(g, shape, 0.1, 0.9) if labels == "prob" else grid(g, shape) + 1 / 128)
                y.requires_grad_()
                t = (one_hot(shape) if labels == "hot" else
                     grid(g, shape, 0.1, 0.9) if labels in ("prob", "unit") else grid(g, shape))
                t.requires_grad_()
                w = grid(g, shape, 0, 2) if weighted else torch.ones(shape)
                loss = function(y, t) * w
                loss.sum().backward()
                f.case(f"{name}{i}{'w' if weighted else ''}")
                f.word(type=name)
                f.number(delta=delta, epsilon=eps)
                f.tensor(predictions=y, labels=t, weights=w, elements=loss, predictionGradient=y.grad,
                         labelGradient=t.grad)
    # cross entropy with class probabilities and label smoothing, as the framework defines it
    y, t = grid(g, (3, 6, 1, 1)).requires_grad_(), one_hot((3, 6, 1, 1))
    loss = F.cross_entropy(y, t, label_smoothing=0.125, reduction="none")
    loss.sum().backward()
    f.case("SmoothedCrossEntropy")
    f.word(type="SoftMaxCrossEntropy")
    f.number(labelSmoothing=0.125, numberOfClasses=6)
    f.tensor(predictions=y, labels=t, imageLoss=loss.reshape(3, 1, 1, 1), predictionGradient=y.grad)
    f.close()


neurons()
softmax()
losses()
