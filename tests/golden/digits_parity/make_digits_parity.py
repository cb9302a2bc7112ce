"""Makes digits_parity.txt: ten training steps of the digit classifier in PyTorch. See README.md beside this file.

  python tests/golden/digits_parity/make_digits_parity.py [--data data/mnist]            writes the golden file
  python tests/golden/digits_parity/make_digits_parity.py --compare                      also measures rounding

Needs numpy and torch (bench/peers/requirements.txt); the test that reads the file needs neither.
"""

import argparse
import gzip
import math
import pathlib
import struct
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

BATCH = 40
STEPS = 10
LEARNING_RATE = 1e-3
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
CHECKPOINTS = (1, 2, 10)


class Layer(NamedTuple):
    name: str
    shape: tuple  # of the weights, in OHWI order
    bound: float  # the start weights are uniform in [-bound, bound); a power of two
    stride: int  # the golden file keeps one element in this many


LAYERS = (
    Layer("conv1", (32, 5, 5, 1), 2.0**-1, 1),
    Layer("conv2", (64, 5, 5, 32), 2.0**-4, 97),
    Layer("fc1", (1024, 7, 7, 64), 2.0**-3, 499),
    Layer("fc2", (10, 1, 1, 1024), 2.0**-6, 7),
)
BIAS = 0.1
SEED = 140  # of conv1; the next layers use SEED + 1, SEED + 2, SEED + 3

# An image is skipped if one of its units lies this near to a kink, as a share of the layer's root mean square.
KINK_MARGIN = 1e-5
# Closer than this the candidates of a pooling window are equal by construction (the same pixels under the filter).
EXACT_TIE = 1e-12


# --- the start ------------------------------------------------------------------------------------------------------


def splitmix64(seed, count):
    """The first `count` outputs of the SplitMix64 generator started at `seed`."""
    with np.errstate(over="ignore"):
        state = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return state ^ (state >> np.uint64(31))


def initial_weights(index):
    """float32 weights of a layer in OHWI order. Every operation is exact, so any language gives the same bits."""
    layer = LAYERS[index]
    top24 = (splitmix64(SEED + index, math.prod(layer.shape)) >> np.uint64(40)).astype(np.int64)
    unit = (top24 - (1 << 23)).astype(np.float32) * np.float32(2.0**-23)  # in [-1, 1)
    return (unit * np.float32(layer.bound)).reshape(layer.shape)


def initial_parameters(dtype):
    parameters = {}
    for index, layer in enumerate(LAYERS):
        parameters[layer.name + ".weight"] = torch.from_numpy(initial_weights(index)).to(dtype)
        parameters[layer.name + ".bias"] = torch.full((layer.shape[0],), np.float32(BIAS).item(), dtype=dtype)
    return parameters


def read_idx(folder, name):
    """An IDX file of unsigned bytes, plain or gzipped."""
    path = pathlib.Path(folder) / name
    raw = path.read_bytes() if path.exists() else gzip.decompress(path.with_name(name + ".gz").read_bytes())
    rank = raw[3]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(struct.unpack(f">{rank}I", raw[4 : 4 + 4 * rank]))


class Data:
    """The training images as float32 [count, 1, 28, 28]: byte / 255, rounded once; and their labels."""

    def __init__(self, folder):
        pixels = read_idx(folder, "train-images-idx3-ubyte")[:4000]
        self.images = torch.from_numpy(pixels.astype(np.float32) / np.float32(255)).unsqueeze(1)
        self.labels = torch.from_numpy(read_idx(folder, "train-labels-idx1-ubyte").astype(np.int64))


# --- the network ----------------------------------------------------------------------------------------------------


def forward(parameters, images):
    """Logits, and the arguments of the three ReLUs. Weights are OHWI, the fully connected layers read HWC order."""

    def convolve(source, name):
        weights = parameters[name + ".weight"].permute(0, 3, 1, 2)
        return F.conv2d(source, weights, parameters[name + ".bias"], padding=2)

    def connect(source, name):
        return F.linear(source, parameters[name + ".weight"].flatten(1), parameters[name + ".bias"])

    first = convolve(images, "conv1")
    second = convolve(F.max_pool2d(F.relu(first), 2), "conv2")
    third = connect(F.max_pool2d(F.relu(second), 2).permute(0, 2, 3, 1).flatten(1), "fc1")
    return connect(F.relu(third), "fc2"), (first, second, third)


def far_from_kinks(arguments):
    """Which images keep KINK_MARGIN from every point where rounding alone would choose the gradient's path.

    Those points are a ReLU argument near 0 and two candidates of a pooling window that nearly tie. Only what can win
    its pooling window matters. Exact ties do not: both candidates saw the same pixels and give the same gradient.
    """
    good = None
    for argument in arguments:
        margin = KINK_MARGIN * argument.square().flatten(1).mean(1).sqrt()
        if argument.dim() == 4:
            n, c, h, w = argument.shape
            windows = argument.view(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 2, 4, 3, 5).reshape(n, -1, 4)
            largest = windows.amax(2, keepdim=True)
            gap = largest - windows
            limit = margin.view(n, 1, 1)
            tie = (largest > 0) & (gap > EXACT_TIE) & (gap < limit)
            near = (largest.abs() < limit).flatten(1).any(1) | tie.flatten(1).any(1)
        else:
            near = (argument.abs() < margin.view(-1, 1)).any(1)
        good = ~near if good is None else good & ~near
    return good


def adam_step(parameters, gradients, moments, k):
    """Adam with epsilon outside the bias correction.

    lr_k = lr sqrt(1 - b2^k) / (1 - b1^k);  m, u = running means of g and g^2;  v -= lr_k m / (sqrt(u) + eps)
    """
    rate = LEARNING_RATE * math.sqrt(1 - BETA2**k) / (1 - BETA1**k)
    for name, value in parameters.items():
        gradient = gradients[name]
        m, u = moments[name]
        m.mul_(BETA1).add_(gradient, alpha=1 - BETA1)
        u.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        value.sub_(rate * m / (u.sqrt() + EPSILON))


# --- the ten steps --------------------------------------------------------------------------------------------------


class Trace:
    """What a run leaves behind; arrays, weights in OHWI order."""

    def __init__(self):
        self.images = []  # indices into the training set, BATCH a step
        self.losses = []
        self.logits = None  # of step 1
        self.gradients = None  # of step 1
        self.parameters = {}  # after each step of CHECKPOINTS


def choose_batch(parameters, data, start):
    """The next BATCH images from `start` on that are far from every kink."""
    chosen = []
    while len(chosen) < BATCH:
        candidates = slice(start, start + BATCH)
        with torch.no_grad():
            good = far_from_kinks(forward(parameters, data.images[candidates].double())[1])
        chosen += [start + i for i in range(BATCH) if good[i]]
        start += BATCH
    return chosen[:BATCH]


def train(data, dtype, images=None):
    """Ten steps with every number held in `dtype`; without `images` they are chosen on the way (float64 only)."""
    parameters = initial_parameters(dtype)
    moments = {name: (torch.zeros_like(v), torch.zeros_like(v)) for name, v in parameters.items()}
    trace = Trace()
    for step in range(1, STEPS + 1):
        if images is None:
            batch = choose_batch(parameters, data, trace.images[-1] + 1 if trace.images else 0)
        else:
            batch = images[(step - 1) * BATCH : step * BATCH]
        leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        logits, _ = forward(leaves, data.images[batch].to(dtype))
        loss = F.cross_entropy(logits, data.labels[batch], reduction="sum") * (1 / BATCH)
        gradients = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()))))
        with torch.no_grad():
            adam_step(parameters, gradients, moments, step)

        trace.images += batch
        trace.losses.append(loss.item())
        if step == 1:
            trace.logits = logits.detach().numpy().copy()
            trace.gradients = {name: g.numpy().copy() for name, g in gradients.items()}
        if step in CHECKPOINTS:
            trace.parameters[step] = {name: v.numpy().copy() for name, v in parameters.items()}
    return trace


# --- the golden file ------------------------------------------------------------------------------------------------


class Writer:
    """The text format of tests/support/golden.hpp."""

    def __init__(self, out):
        self.out = out

    def case(self, name):
        self.out.write(f"case {name}\n")

    def number(self, key, value):
        self.out.write(f"number {key} {float(value):.17g}\n")

    def tensor(self, key, values, shape, digits=9):
        self.out.write(f"tensor {key} {' '.join(map(str, shape))}\n")
        flat = np.asarray(values).reshape(-1)
        for start in range(0, flat.size, 16):
            self.out.write(" ".join(f"{v:.{digits}g}" for v in flat[start : start + 16]) + "\n")

    def parameter(self, layer, kind, values):
        """A tensor whole, or one element in `stride` with sum and sum of squares of each output channel."""
        key = f"{layer.name}.{kind}"
        if kind == "bias":
            self.tensor(key, values, (1, 1, 1, values.size))
        elif layer.stride == 1:
            self.tensor(key, values, values.shape)
        else:
            kept = values.reshape(-1)[:: layer.stride]
            self.tensor(key, kept, (1, 1, 1, kept.size))
            for name, sums in row_sums(values).items():
                self.tensor(f"{key}.{name}", sums, (1, 1, 1, sums.size), 17)


def row_sums(values):
    rows = values.astype(np.float64).reshape(values.shape[0], -1)
    return {"rowsum": rows.sum(1), "rowsquares": (rows * rows).sum(1)}


def write_golden(path, trace):
    with open(path, "w", encoding="ascii", newline="\n") as file:
        file.write("# Ten training steps of the digit classifier; README.md beside this file says how to read it\n")
        file.write(f"# PyTorch {torch.__version__.split('+')[0]}, float32; made by make_digits_parity.py\n")
        out = Writer(file)
        out.case("plan")
        for key, value in (("lr", LEARNING_RATE), ("beta1", BETA1), ("beta2", BETA2), ("epsilon", EPSILON)):
            out.number(key, value)
        out.number("bias", BIAS)
        for index, layer in enumerate(LAYERS):
            out.number(f"{layer.name}.seed", SEED + index)
            out.number(f"{layer.name}.bound", layer.bound)
            out.number(f"{layer.name}.stride", layer.stride)
            out.tensor(f"{layer.name}.first", initial_weights(index).reshape(-1)[:16], (1, 1, 1, 16))
        out.tensor("images", trace.images, (STEPS, 1, 1, BATCH))
        out.tensor("loss", trace.losses, (STEPS, 1, 1, 1))
        out.case("forward1")
        out.tensor("logits", trace.logits, (BATCH, 1, 1, trace.logits.shape[1]))
        stages = {"gradient1": trace.gradients} | {f"after{k}": trace.parameters[k] for k in CHECKPOINTS}
        for name, values in stages.items():
            out.case(name)
            for layer in LAYERS:
                for kind in ("weight", "bias"):
                    out.parameter(layer, kind, values[f"{layer.name}.{kind}"])


# --- how far rounding alone takes PyTorch ---------------------------------------------------------------------------


def scale_of(name):
    """What an error is measured against when the weight itself is smaller: its layer's start bound, or start bias."""
    layer, kind = name.split(".")
    return BIAS if kind == "bias" else next(l.bound for l in LAYERS if l.name == layer)


def distance(trace, reference, name):
    """Largest |difference| / max(|reference|, scale) of one tensor, over every element, after any checkpoint."""
    largest = 0.0
    for step in CHECKPOINTS:
        expected = reference.parameters[step][name].astype(np.float64)
        error = np.abs(trace.parameters[step][name] - expected)
        largest = max(largest, (error / np.maximum(np.abs(expected), scale_of(name))).max())
    return largest


def row_distances(trace, reference, layer):
    """The same for the sums of each output channel, against bound sqrt(n) and bound^2 sqrt(n) of its n weights."""
    largest = {}
    root = math.sqrt(math.prod(layer.shape[1:]))
    for step in CHECKPOINTS:
        sums = row_sums(trace.parameters[step][layer.name + ".weight"])
        expected = row_sums(reference.parameters[step][layer.name + ".weight"])
        for key, scale in (("rowsum", layer.bound * root), ("rowsquares", layer.bound**2 * root)):
            largest[key] = max(largest.get(key, 0.0), np.abs(sums[key] - expected[key]).max() / scale)
    return largest


def compare(data, reference, golden):
    """Prints how far several float32 runs end from the float64 run: the table of README.md."""
    runs = {"golden": golden}
    with torch.backends.mkldnn.flags(enabled=False):
        runs["without oneDNN"] = train(data, torch.float32, reference.images)
    for seed in (1, 2, 3, 4):  # a shuffled batch is the same batch with its sums rounded in another order
        order = np.random.default_rng(seed)
        images = np.array(reference.images).reshape(STEPS, BATCH)
        shuffled = order.permuted(images, axis=1).reshape(-1).tolist()
        with torch.backends.mkldnn.flags(enabled=seed % 2 == 0):
            runs[f"shuffled {seed}"] = train(data, torch.float32, shuffled)
    print("| parameter | " + " | ".join(runs) + " |")
    print("|---|" + "---|" * len(runs))
    for name in reference.parameters[1]:
        print(f"| {name} | " + " | ".join(f"{distance(run, reference, name):.1e}" for run in runs.values()) + " |")
    for layer in LAYERS:
        if layer.stride > 1:
            found = [row_distances(run, reference, layer) for run in runs.values()]
            for key in ("rowsum", "rowsquares"):
                print(f"| {layer.name}.weight.{key} | " + " | ".join(f"{f[key]:.1e}" for f in found) + " |")
    for name, expected in reference.gradients.items():
        found = [np.abs(run.gradients[name] - expected).max() / np.abs(expected).max() for run in runs.values()]
        print(f"| {name}, gradient of step 1 | " + " | ".join(f"{f:.1e}" for f in found) + " |")
    losses = [max(abs(a - b) / b for a, b in zip(run.losses, reference.losses)) for run in runs.values()]
    print("| loss | " + " | ".join(f"{loss:.1e}" for loss in losses) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = pathlib.Path(__file__).resolve().parent
    parser.add_argument("--data", default=here.parents[2] / "data" / "mnist", help="folder of the MNIST files")
    parser.add_argument("--out", default=here / "digits_parity.txt")
    parser.add_argument("--compare", action="store_true", help="also print the distance of float32 to float64")
    args = parser.parse_args()

    torch.set_num_threads(1)
    data = Data(args.data)
    reference = train(data, torch.float64)
    golden = train(data, torch.float32, reference.images)
    write_golden(args.out, golden)
    if args.compare:
        compare(data, reference, golden)


if __name__ == "__main__":
    main()
