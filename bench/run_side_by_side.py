#!/usr/bin/env python3
"""Trains the digit classifier with kovar and with PyTorch, in turns on the same machine, and prints who is faster.

  python3 bench/run_side_by_side.py                                   2 and 1 threads, batch 40 and 128, 5 rounds
  python3 bench/run_side_by_side.py --rounds 3 --threads 2 --markdown docs/measurements/training-speed.md --json out.json

Every round runs each program once for each case, and the next round in the reverse order, so that a machine that slows
down or speeds up hits both. A case's figure is the median over the rounds; the ratio compares kovar with PyTorch's best
configuration for that case. PyTorch's own figure of a round is the better of its median step and its mean, without warm-up;
kovar's is what its --json says of the whole training, first step included. Needs a Python with PyTorch: see --peer-python.
"""

import argparse
import datetime
import json
import os
import pathlib
import statistics
import sys
import tempfile

from side_by_side import MAKE_PEERS, ROOT, fail, machine, need_kovar, output_of, peer_python, revision

PEER = ROOT / "bench" / "peers" / "train_digits_torch.py"
KOVAR_FIELDS = ("test_accuracy", "images_per_second", "seconds", "steps", "peak_rss_mb")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kovar", type=pathlib.Path, default=ROOT / "build" / "release" / "bin" / "kovar")
    parser.add_argument("--peer-python", type=pathlib.Path, default=os.environ.get("KOVAR_PEER_PYTHON"),
                        help="Python that has PyTorch (default $KOVAR_PEER_PYTHON, else venv/bin/python, else this one)")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / "data" / "mnist")
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--batch", type=int, nargs="+", default=[40, 128])
    parser.add_argument("--configurations", nargs="+", default=["contiguous", "channels-last"],
                        help="of PyTorch; also: compiled, compiled-channels-last")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=6000, help="images a run trains on (default 6000)")
    parser.add_argument("--markdown", type=pathlib.Path, help="write the tables there too")
    parser.add_argument("--json", type=pathlib.Path, help="write every single run there")
    args = parser.parse_args()
    if args.rounds < 1 or args.images < max(args.batch):
        fail("--rounds must be at least 1 and --images at least one batch")
    return args


def run_kovar(args, batch, threads, steps):
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "run.json"
        output_of([args.kovar, "train", "digits", "--data", args.data, "--device", "cpu", "--steps", steps,
                   "--batch", batch, "--threads", threads, "--json", report], threads)
        record = json.loads(report.read_text(encoding="utf-8"))
    missing = [field for field in KOVAR_FIELDS if field not in record]
    if missing:
        fail(f"{args.kovar} --json lacks {', '.join(missing)}; this script and the program are of different versions")
    return {field: record[field] for field in KOVAR_FIELDS} | {"rate": record["images_per_second"]}


def run_torch(args, python, batch, threads, steps, configuration):
    text = output_of([python, PEER, "--data", args.data, "--threads", threads, "--batch", batch, "--steps", steps,
                      "--configurations", configuration], threads)
    record = json.loads(text.strip().splitlines()[-1])
    return record | {"rate": max(record["images_per_second"], record["images_per_second_mean"])}


def measure(args, python):
    """All single runs, in the order in which they ran."""
    programs = ["kovar"] + [f"torch {name}" for name in args.configurations]
    cases = [(threads, batch) for threads in args.threads for batch in args.batch]
    runs = []
    for number in range(args.rounds):
        for threads, batch in cases:
            steps = args.images // batch
            for program in programs if number % 2 == 0 else programs[::-1]:
                load = os.getloadavg()[0]
                if program == "kovar":
                    record = run_kovar(args, batch, threads, steps)
                else:
                    record = run_torch(args, python, batch, threads, steps, program.split(" ", 1)[1])
                record |= {"program": program, "threads": threads, "batch": batch, "round": number, "load": load}
                runs.append(record)
                print(f"round {number + 1}/{args.rounds}  {threads} threads  batch {batch:4}  {program:30}"
                      f" {record['rate']:8.0f} images/s", file=sys.stderr, flush=True)
    return runs


def tables(runs, args):
    """The result as Markdown."""
    def middle(program, threads, batch, field="rate"):
        return statistics.median(r[field] for r in runs
                                 if (r["program"], r["threads"], r["batch"]) == (program, threads, batch))

    peers = [f"torch {name}" for name in args.configurations]
    version = next(r["version"] for r in runs if r["program"] != "kovar")
    lines = [
        f"{machine()}; kovar {revision()}; PyTorch {version}; {datetime.date.today().isoformat()}.",
        f"Median of {args.rounds} rounds in turns, {args.images} images a run, images per second"
        " (in brackets the slowest and the fastest round); load before a run at most "
        f"{max(r['load'] for r in runs):.1f}.",
        "",
        "| threads | batch | kovar | " + " | ".join(peers) + " | kovar / best torch | peak memory, MB: kovar, torch |",
        "|---|---|---|" + "---|" * len(peers) + "---|---|",
    ]
    for threads in args.threads:
        for batch in args.batch:
            cells = []
            for program in ["kovar"] + peers:
                rates = [r["rate"] for r in runs
                         if (r["program"], r["threads"], r["batch"]) == (program, threads, batch)]
                cells.append(f"{statistics.median(rates):.0f} ({min(rates):.0f}–{max(rates):.0f})")
            best = max(peers, key=lambda peer: middle(peer, threads, batch))
            ratio = middle("kovar", threads, batch) / middle(best, threads, batch)
            memory = [middle(program, threads, batch, "peak_rss_mb") for program in ("kovar", best)]
            lines.append(f"| {threads} | {batch} | " + " | ".join(cells)
                         + f" | **{ratio:.2f}** | {memory[0]:.0f}, {memory[1]:.0f} |")
    return "\n".join(lines) + "\n"


def main():
    args = parse()
    need_kovar(args.kovar)
    python = peer_python(args.peer_python)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
    runs = measure(args, python)
    text = tables(runs, args)
    print(text, end="")
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "kovar": revision(), "runs": runs}, indent=1) + "\n",
                             encoding="utf-8")
    if args.markdown:
        plan = {"rounds": [args.rounds], "images": [args.images], "threads": args.threads, "batch": args.batch,
                "configurations": args.configurations}
        repeat = " ".join(["python3 bench/run_side_by_side.py"]
                          + [f"--{key} {' '.join(map(str, values))}" for key, values in plan.items()])
        args.markdown.write_text("# Training speed: kovar and PyTorch in turns\n\n" + text
                                 + f"\nRepeat: `{repeat}` (a Python with PyTorch: `{MAKE_PEERS}`).\n",
                                 encoding="utf-8")


if __name__ == "__main__":
    main()
