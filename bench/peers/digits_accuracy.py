"""What test accuracy the digit classifier reaches in PyTorch, over several seeds: one JSON line a run.

  plan steps   300 steps, images drawn with replacement, evaluated after steps 100, 200 and 300
  plan epochs  whole epochs, every image once an epoch in random order, evaluated after each epoch

Both: float32, Adam (learning rate 1e-3, 0.9, 0.999, 1e-8), dropout 0.5, loss = sum of softmax cross entropy times
1 / batch.

  python bench/peers/digits_accuracy.py --plan steps --init apple --seeds 5
  python bench/peers/digits_accuracy.py --plan epochs --init he --epochs 3 --seeds 4
"""

import argparse
import json
import time

import torch

import digits_net


def train_step(net, optimizer, images, labels):
    """One update; the batch's mean cross entropy before it."""
    optimizer.zero_grad(set_to_none=True)
    loss = digits_net.batch_loss(net(images), labels, 1 / len(labels))
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def draws_with_replacement(count, batch, steps, generator):
    for _ in range(steps):
        yield torch.randint(count, (batch,), generator=generator)


def shuffled_epoch(count, batch, generator):
    order = torch.randperm(count, generator=generator)
    yield from order[: count // batch * batch].split(batch)


def run(seed, args, train, test):
    """Trains one network and returns its record."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # dropout draws from the global generator
    net = digits_net.DigitNet(args.dropout)
    digits_net.initialise(net, args.init, generator)
    net = net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), lr=args.lr, betas=(0.9, 0.999), eps=1e-8, fused=True)

    accuracy, losses, started = {}, [], time.perf_counter()
    if args.plan == "steps":
        batches = draws_with_replacement(len(train), args.batch, args.steps, generator)
        for step, index in enumerate(batches, 1):
            losses.append(train_step(net, optimizer, train.images[index], train.labels[index]))
            if step % args.evaluate_every == 0:
                accuracy[step] = digits_net.test_accuracy(net, test)
    else:
        for epoch in range(1, args.epochs + 1):
            for index in shuffled_epoch(len(train), args.batch, generator):
                losses.append(train_step(net, optimizer, train.images[index], train.labels[index]))
            accuracy[epoch] = digits_net.test_accuracy(net, test)

    settled = losses[min(200, len(losses) // 2) :]
    return {
        "plan": args.plan,
        "init": args.init,
        "batch": args.batch,
        "lr": args.lr,
        "dropout": args.dropout,
        "seed": seed,
        "test_accuracy": accuracy,
        "first_loss": losses[0],
        "last_100_mean_loss": sum(losses[-100:]) / len(losses[-100:]),
        # The largest single batch once the start is over: a run that blows up shows here.
        "largest_settled_loss": max(settled),
        "steps": len(losses),
        "seconds": round(time.perf_counter() - started, 1),
        "torch": torch.__version__,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data/mnist", help="folder of the MNIST files (default data/mnist)")
    parser.add_argument("--plan", choices=("steps", "epochs"), required=True)
    parser.add_argument("--init", choices=("apple", "he", "he-normal", "torch"), required=True)
    parser.add_argument("--seeds", type=int, default=5, help="runs with seeds first, first + 1, ... (default 5)")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--evaluate-every", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    train, test = digits_net.load_mnist(args.data)
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        print(json.dumps(run(seed, args, train, test)), flush=True)


if __name__ == "__main__":
    main()
