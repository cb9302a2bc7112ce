"""Times PyTorch's operators with the shapes of `kovar bench`: one JSON line for each case.

  python bench/peers/operators_torch.py --threads 2 --filter '^conv' --seconds 0.1

The names are those of `kovar bench --list`; a case that PyTorch has no operator for is left out. Eager mode, channels
last, float32. A binary convolution is held against PyTorch's float32 convolution of the same shape, since it has none on
bits; digits_... are the network of digits_net.py, the training step with fused Adam.
"""

import argparse
import json
import os
import re
import time

CONVS = {  # in, out, kernel, stride, groups, side
    "conv7x7s2_3_64_224": (3, 64, 7, 2, 1, 224),
    "conv1x1_64_256_56": (64, 256, 1, 1, 1, 56),
    "conv3x3_128_128_28": (128, 128, 3, 1, 1, 28),
    "conv1x1_1024_256_14": (1024, 256, 1, 1, 1, 14),
    "conv3x3_512_512_7": (512, 512, 3, 1, 1, 7),
    "conv3x3_256_256_28": (256, 256, 3, 1, 1, 28),
    "binary3x3_256_256_28": (256, 256, 3, 1, 1, 28),
    "dw3x3s2_96_112": (96, 96, 3, 2, 96, 112),
    "dw3x3_384_14": (384, 384, 3, 1, 384, 14),
}
FEATURES = {  # channels, side
    "maxpool3x3s2_64_112": (64, 112),
    "avgpool3x3s2_64_112": (64, 112),
    "lrn5_96_55": (96, 55),
    "instnorm_64_56": (64, 56),
    "upsample2x_bilinear_64_56": (64, 56),
}
SHORTEST_SAMPLE, LEAST_SAMPLES = 5e-4, 5  # as kovar bench


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--filter", default="", help="regular expression over names such as softmax1000.b16")
    parser.add_argument("--seconds", type=float, default=0.1, help="of each case (default 0.1)")
    parser.add_argument("cases", nargs="*", help="names with batch, as kovar bench --list prints them")
    return parser.parse_args()


def convolution(torch, name, batch):
    inputs, outputs, kernel, stride, groups, side = CONVS[name]
    layer = torch.nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)
    source = torch.rand(batch, inputs, side, side)
    return layer.to(memory_format=torch.channels_last), source.to(memory_format=torch.channels_last)


def forward_backward(module, source, gradient):
    def run():
        source.grad = None
        module.zero_grad(set_to_none=True)
        module(source).backward(gradient)

    return run


def training(torch, name, batch):
    """The case, or nothing when it is none of training."""
    if name == "batchnorm_train_fwdbwd_64_56":
        module = torch.nn.BatchNorm2d(64).train()
        source = torch.rand(batch, 64, 56, 56).to(memory_format=torch.channels_last)
    elif name.endswith("_fwdbwd"):
        module, source = convolution(torch, name.removesuffix("_fwdbwd"), batch)
    elif name == "adam_10M":
        values = torch.nn.Parameter(torch.rand(10_000_000))
        values.grad = torch.rand_like(values)
        return torch.optim.Adam([values], lr=1e-3, fused=True).step
    elif name == "digits_training_step":
        import digits_net

        net = digits_net.DigitNet().to(memory_format=torch.channels_last)
        images = torch.rand(batch, 1, 28, 28).to(memory_format=torch.channels_last)
        labels = torch.randint(10, (batch,))
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)

        def step():
            optimizer.zero_grad(set_to_none=True)
            digits_net.batch_loss(net(images), labels, 1 / batch).backward()
            optimizer.step()

        return step
    else:
        return None
    source.requires_grad_()
    return forward_backward(module, source, torch.rand_like(module(source)))


def inference(torch, name, batch):
    """The case, or nothing when PyTorch has no operator for it."""
    functional = torch.nn.functional
    if name in CONVS:
        layer, source = convolution(torch, name, batch)
        return lambda: layer(source)
    if name == "deconv4x4s2_64_32_56":
        layer = torch.nn.ConvTranspose2d(64, 32, 4, 2, 1).to(memory_format=torch.channels_last)
        source = torch.rand(batch, 64, 56, 56).to(memory_format=torch.channels_last)
        return lambda: layer(source)
    if name in FEATURES:
        channels, side = FEATURES[name]
        source = torch.rand(batch, channels, side, side).to(memory_format=torch.channels_last)
        if name.startswith("maxpool"):
            return lambda: functional.max_pool2d(source, 3, 2, 1)
        if name.startswith("avgpool"):
            return lambda: functional.avg_pool2d(source, 3, 2, 1, count_include_pad=False)
        if name.startswith("lrn"):
            return lambda: functional.local_response_norm(source, 5)
        if name.startswith("instnorm"):
            gamma, beta = torch.rand(channels), torch.rand(channels)
            return lambda: functional.instance_norm(source, weight=gamma, bias=beta)
        return lambda: functional.interpolate(source, scale_factor=2, mode="bilinear", align_corners=False)
    if name == "softmax1000":
        source = torch.rand(batch, 1000)
        return lambda: torch.softmax(source, 1)
    if name == "fc4096":
        layer, source = torch.nn.Linear(4096, 4096), torch.rand(batch, 4096)
        return lambda: layer(source)
    if name == "digits_inference":
        import digits_net

        net = digits_net.DigitNet().eval().to(memory_format=torch.channels_last)
        images = torch.rand(batch, 1, 28, 28).to(memory_format=torch.channels_last)
        return lambda: torch.softmax(net(images), 1)
    if not name.endswith("_256_256_64"):
        return None
    source = torch.rand(256, 256, 64)
    if name.startswith("sum"):
        axis = {"h": 0, "w": 1, "c": 2}[name.split("_")[1]]
        return lambda: torch.sum(source, axis)
    if name.startswith("argmax_c"):
        return lambda: torch.argmax(source, 2)
    other = torch.rand(256, 256, 64) if "same" in name else torch.rand(64)
    result = torch.empty(256, 256, 64)
    return lambda: torch.add(source, other, out=result)


def measure(run, seconds):
    """Sorted seconds of one run: as many runs together as a sample needs, samples until the time is over."""
    def together(count):
        start = time.perf_counter()
        for _ in range(count):
            run()
        return (time.perf_counter() - start) / count

    together(1)
    count = max(1, min(256, int(SHORTEST_SAMPLE / together(1))))
    samples, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(samples) < LEAST_SAMPLES:
        samples.append(together(count))
    return sorted(samples)


def main():
    args = parse()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # before the import: PyTorch sizes its pool once
    import torch

    torch.set_num_threads(args.threads)
    for case in args.cases:
        if not re.search(args.filter, case):
            continue
        name, batch = case.rsplit(".b", 1)
        run = training(torch, name, int(batch))
        if run is not None:
            samples = measure(run, args.seconds)
        else:
            with torch.inference_mode():
                run = inference(torch, name, int(batch))
                if run is None:
                    continue
                samples = measure(run, args.seconds)
        print(json.dumps({"case": case, "median_seconds": samples[len(samples) // 2], "samples": len(samples),
                          "version": torch.__version__.split("+")[0]}), flush=True)


if __name__ == "__main__":
    main()
