"""The digit classifier of `kovar train digits`, written for PyTorch: data, network, initial weights, evaluation.

Shared by the peer programs of this folder, so that each of them measures the same network:
5x5 convolution 1 to 32, ReLU, 2x2 max pooling, 5x5 convolution 32 to 64, ReLU, 2x2 max pooling, fully connected
3136 to 1024, ReLU, dropout 0.5 (training only), fully connected 1024 to 10. Convolutions keep the image size.
"""

import gzip
import math
import pathlib
import struct

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

CLASSES = 10
IMAGE_SIZE = 28
LAYERS = ("conv1", "conv2", "fc1", "fc2")

# Multiply-adds of one forward pass over one image; a training step costs about three times as much.
FORWARD_MACS = 28 * 28 * 32 * 25 + 14 * 14 * 64 * 25 * 32 + 3136 * 1024 + 1024 * 10


def read_idx(folder, name):
    """Reads one IDX file of unsigned bytes, plain or gzipped, as an array of the file's own shape."""
    plain = pathlib.Path(folder) / name
    packed = plain.with_name(name + ".gz")
    if not plain.exists() and not packed.exists():
        raise SystemExit(f"{plain}: not found, nor {packed.name}; give the folder of the MNIST files with --data")
    raw = plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())
    zeros, kind, rank = struct.unpack(">HBB", raw[:4])
    if zeros != 0 or kind != 8:
        raise SystemExit(f"{plain}: not an IDX file of unsigned bytes")
    shape = struct.unpack(f">{rank}I", raw[4 : 4 + 4 * rank])
    return np.frombuffer(raw, np.uint8, count=math.prod(shape), offset=4 + 4 * rank).reshape(shape)


class Split:
    """Images as float32 [count, 1, 28, 28] in 0..1 and labels as int64 [count]."""

    def __init__(self, folder, prefix):
        pixels = read_idx(folder, f"{prefix}-images-idx3-ubyte")
        self.images = torch.from_numpy(pixels.astype(np.float32) / np.float32(255)).unsqueeze(1)
        self.labels = torch.from_numpy(read_idx(folder, f"{prefix}-labels-idx1-ubyte").astype(np.int64))

    def __len__(self):
        return len(self.labels)


def load_mnist(folder):
    """Training split (60,000 images) and test split (10,000 images)."""
    return Split(folder, "train"), Split(folder, "t10k")


class DigitNet(nn.Module):
    """Returns the ten logits of each image."""

    def __init__(self, dropout=0.5):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, kernel_size=5, padding=2)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=5, padding=2)
        self.fc1 = nn.Linear(7 * 7 * 64, 1024)
        self.fc2 = nn.Linear(1024, CLASSES)
        self.dropout = dropout

    def forward(self, images):
        features = F.max_pool2d(F.relu(self.conv1(images)), 2)
        features = F.max_pool2d(F.relu(self.conv2(features)), 2)
        hidden = F.relu(self.fc1(features.flatten(1)))
        return self.fc2(F.dropout(hidden, self.dropout, self.training))


def initialise(net, scheme, generator):
    """Fills the weights in place.

    apple  weights uniform in [-0.2, 0.2], biases 0.1: what Apple's published training sample does.
    he     weights uniform in [-b, b] with b = sqrt(6 / fan_in), biases 0, for all four layers, the last one too.
    he-normal  as he, with a normal distribution of standard deviation sqrt(2 / fan_in).
    torch  PyTorch's own default of nn.Conv2d and nn.Linear: weights and biases uniform with bound 1 / sqrt(fan_in).
    """
    with torch.no_grad():
        for name in LAYERS:
            layer = getattr(net, name)
            fan_in = layer.weight[0].numel()
            if scheme == "apple":
                layer.weight.uniform_(-0.2, 0.2, generator=generator)
                layer.bias.fill_(0.1)
            elif scheme == "he":
                bound = math.sqrt(6 / fan_in)
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.zero_()
            elif scheme == "he-normal":
                layer.weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
                layer.bias.zero_()
            elif scheme == "torch":
                bound = 1 / math.sqrt(fan_in)
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)
            else:
                raise ValueError(f"unknown initial weights '{scheme}'")


def batch_loss(logits, labels, weight):
    """Softmax cross entropy, summed over the batch, each image multiplied by `weight`."""
    return weight * F.cross_entropy(logits, labels, reduction="sum")


@torch.no_grad()
def test_accuracy(net, split, chunk=500):
    """Share of the split's images whose largest logit is the label; dropout off."""
    was_training = net.training
    net.eval()
    hits = sum(
        int((net(images).argmax(1) == labels).sum())
        for images, labels in zip(split.images.split(chunk), split.labels.split(chunk))
    )
    net.train(was_training)
    return hits / len(split)
