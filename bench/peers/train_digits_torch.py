"""How fast PyTorch trains the digit classifier on the CPU: one JSON line for each batch size and configuration.

Same network, loss and optimizer as `kovar train digits`: float32, dropout 0.5, fused Adam. A step gathers a batch of
random training images, runs forward and backward and updates the weights. Times exclude the warm-up.

  python bench/peers/train_digits_torch.py --threads 2 --batch 40 128

images_per_second is from the median step, images_per_second_p20 from the step that only 20 % of the steps beat,
images_per_second_mean from the whole timed stretch.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data/mnist", help="folder of the MNIST files (default data/mnist)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, nargs="+", default=[40, 128])
    parser.add_argument("--configurations", nargs="+", default=["contiguous", "channels-last"],
                        choices=["contiguous", "channels-last", "compiled", "compiled-channels-last"],
                        help="memory layout, with or without torch.compile (default both layouts, eager)")
    parser.add_argument("--steps", type=int, default=150, help="timed steps (default 150)")
    parser.add_argument("--warm-up", type=int, default=15, help="steps before the clock starts (default 15)")
    return parser.parse_args()


def measure(args, data, batch, configuration):
    import torch

    import digits_net

    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    net = digits_net.DigitNet()
    digits_net.initialise(net, "he", generator)
    images = data.images
    if configuration.endswith("channels-last"):
        net = net.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    model = torch.compile(net) if configuration.startswith("compiled") else net

    seconds = []
    for _ in range(args.warm_up + args.steps):
        started = time.perf_counter()
        index = torch.randint(len(data), (batch,), generator=generator)
        optimizer.zero_grad(set_to_none=True)
        loss = digits_net.batch_loss(model(images[index]), data.labels[index], 1 / batch)
        loss.backward()
        optimizer.step()
        loss.item()  # a program that shows its progress reads the loss
        seconds.append(time.perf_counter() - started)
    seconds = sorted(seconds[args.warm_up :])
    p20 = seconds[len(seconds) // 5]
    return {
        "peer": "torch",
        "version": torch.__version__.split("+")[0],
        "configuration": configuration,
        "batch": batch,
        "threads": args.threads,
        "steps": len(seconds),
        "images_per_second": round(batch / statistics.median(seconds), 1),
        "images_per_second_p20": round(batch / p20, 1),
        "images_per_second_mean": round(batch * len(seconds) / sum(seconds), 1),
        "gflops_p20": round(6 * digits_net.FORWARD_MACS * batch / p20 * 1e-9, 1),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def main():
    args = parse()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # before the import: PyTorch sizes its pool once
    try:
        import torch
    except ImportError:
        sys.exit(f"error: {sys.executable} has no PyTorch; make a Python that has it: "
                 "python3 -m venv venv && venv/bin/pip install -r bench/peers/requirements.txt")
    import digits_net

    torch.set_num_threads(args.threads)
    train, _ = digits_net.load_mnist(args.data)
    for batch in args.batch:
        for configuration in args.configurations:
            print(json.dumps(measure(args, train, batch, configuration)), flush=True)


if __name__ == "__main__":
    main()
