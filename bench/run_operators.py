#!/usr/bin/env python3
"""Times the cases of `kovar bench` with kovar and with PyTorch, in turns on the same machine.

  python3 bench/run_operators.py                       2 and 1 threads, 5 rounds
  python3 bench/run_operators.py --filter '^conv' --threads 1 --rounds 3

In every round each program runs every case once for each number of threads, a group of cases at a time, the next round
in the reverse order. A case's figure is the median of its rounds; the ratio is the median of the rounds' ratios, so that
a machine that changes its speed hits both sides. Above 1: kovar is faster. Needs a Python with PyTorch: see
--peer-python.
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

PEER = ROOT / "bench" / "peers" / "operators_torch.py"
GROUP = 8  # cases that one program runs before the other's turn


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kovar", type=pathlib.Path, default=ROOT / "build" / "release" / "bin" / "kovar")
    parser.add_argument("--peer-python", type=pathlib.Path, default=os.environ.get("KOVAR_PEER_PYTHON"),
                        help="Python that has PyTorch (default $KOVAR_PEER_PYTHON, else venv/bin/python, else this one)")
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--filter", default="", help="regular expression over names such as softmax1000.b16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each case in each round (default 0.1)")
    parser.add_argument("--note", default="", help="a sentence on the state of the machine, for the page")
    parser.add_argument("--markdown", type=pathlib.Path, default=ROOT / "docs/measurements/operators.md")
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "docs/measurements/operators.json")
    args = parser.parse_args()
    if args.rounds < 1:
        fail("--rounds must be at least 1")
    return args


def run_kovar(args, cases, threads):
    exact = "^(" + "|".join(case.replace(".", "\\.") for case in cases) + ")$"
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "run.json"
        output_of([args.kovar, "bench", "--device", "cpu", "--threads", threads, "--rounds", 1, "--seconds", args.seconds,
                   "--filter", exact, "--json", report], threads)
        record = json.loads(report.read_text(encoding="utf-8"))
    return {f"{c['name']}.b{c['batch']}": c for c in record["cases"]}, record["roof"]


def run_torch(args, python, cases, threads):
    text = output_of([python, PEER, "--threads", threads, "--seconds", args.seconds, *cases], threads)
    return {record["case"]: record for record in map(json.loads, text.splitlines())}


def measure(args, python, cases, finished):
    """One record for each case, number of threads and round. finished(records, version, rounds) is called after every
    round, so that a run which is cut short leaves what it has."""
    records, version = [], ""
    groups = [cases[i:i + GROUP] for i in range(0, len(cases), GROUP)]
    for number in range(args.rounds):
        for threads in args.threads:
            for group in groups if number % 2 == 0 else groups[::-1]:
                load = os.getloadavg()[0]
                if number % 2 == 0:
                    ours, roof = run_kovar(args, group, threads)
                    theirs = run_torch(args, python, group, threads)
                else:
                    theirs = run_torch(args, python, group, threads)
                    ours, roof = run_kovar(args, group, threads)
                for case in group:
                    mine, peer = ours[case], theirs.get(case)
                    version = peer["version"] if peer else version
                    records.append({"case": case, "threads": threads, "round": number, "load": round(load, 2),
                                    "kovar_seconds": mine["median_seconds"], "flops": mine["flops"],
                                    "bytes": mine["bytes"], "share_of_roof": mine["share_of_roof"],
                                    "torch_seconds": peer["median_seconds"] if peer else None, "roof": roof})
            print(f"round {number + 1}/{args.rounds}  {threads} threads", file=sys.stderr, flush=True)
        finished(records, version, number + 1)


def middle(records, field):
    return statistics.median(r[field] for r in records)


def row(case, records):
    """Of one case and number of threads."""
    ours = middle(records, "kovar_seconds")
    compared = [r["torch_seconds"] / r["kovar_seconds"] for r in records if r["torch_seconds"]]
    flops, size = records[0]["flops"], records[0]["bytes"]
    rate = f"{flops / ours * 1e-9:.0f} GFLOP/s" if flops else f"{size / ours * 1e-9:.1f} GB/s"
    if not compared:
        return f"| {case} | {ours * 1e6:.1f} | {rate} | {middle(records, 'share_of_roof') * 100:.0f} % | - | - |"
    theirs = middle(records, "torch_seconds")
    return (f"| {case} | {ours * 1e6:.1f} | {rate} | {middle(records, 'share_of_roof') * 100:.0f} % | "
            f"{theirs * 1e6:.1f} | **{statistics.median(compared):.2f}** ({min(compared):.2f}–{max(compared):.2f}) |")


def page(args, records, version, cases, rounds):
    options = f"--rounds {rounds} --seconds {args.seconds} --threads {' '.join(map(str, args.threads))}"
    lines = ["# Operators: kovar and PyTorch in turns", "",
             f"{machine()}; kovar {revision()}; PyTorch {version}, eager, channels last; "
             f"{datetime.date.today().isoformat()}.",
             f"Medians of {rounds} rounds in turns; the ratio is PyTorch's time divided by ours in the same round, its "
             "median and in", "brackets its least and most. Load before a group of cases at most "
             f"{max(r['load'] for r in records):.1f}. {args.note}".rstrip(), "",
             "Times of kovar include encoding, commit and wait. Of peak: the time that the multiply-add rate or the "
             "memory's bandwidth of", "that moment allows, divided by ours; above 100 % where an algorithm needs fewer "
             "operations (Winograd, packed bits) or the data stay", "in the cache. `binary...` is held against PyTorch's "
             "float32 convolution. Names: operator, kernel, channels, side; batch.", ""]
    for threads in args.threads:
        mine = [r for r in records if r["threads"] == threads]
        roof = {key: statistics.median(r["roof"][key] for r in mine) for key in mine[0]["roof"]}
        lines += [f"## {threads} {'thread' if threads == 1 else 'threads'}", "",
                  f"At most {roof['gflops']:.0f} GFLOP/s; {roof['read_gb_per_second']:.1f} GB/s read, "
                  f"{roof['copy_gb_per_second']:.1f} copied, {roof['in_place_gb_per_second']:.1f} in place.", "",
                  "| case | kovar, µs | | of peak | PyTorch, µs | PyTorch / kovar |", "|---|---|---|---|---|---|"]
        lines += [row(case, [r for r in mine if r["case"] == case]) for case in cases]
        lines.append("")
    return "\n".join(lines) + f"\nRepeat: `python3 bench/run_operators.py {options}` (a Python with PyTorch: `{MAKE_PEERS}`).\n"


def main():
    args = parse()
    need_kovar(args.kovar)
    python = peer_python(args.peer_python)
    listed = [args.kovar, "bench", "--list"] + (["--filter", args.filter] if args.filter else [])
    cases = output_of(listed, 1).split()
    args.json.parent.mkdir(parents=True, exist_ok=True)

    def write(records, version, rounds):
        args.json.write_text(json.dumps({"machine": machine(), "kovar": revision(), "torch": version,
                                         "date": datetime.date.today().isoformat(), "records": records}) + "\n",
                             encoding="utf-8")
        args.markdown.write_text(page(args, records, version, cases, rounds), encoding="utf-8")

    measure(args, python, cases, write)
    print(f"{args.markdown}: {len(cases)} cases")


if __name__ == "__main__":
    main()
