"""What the scripts share that run kovar and PyTorch in turns on the same machine."""

import os
import pathlib
import platform
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
MAKE_PEERS = "python3 -m venv venv && venv/bin/pip install -r bench/peers/requirements.txt"


def fail(text):
    sys.exit(f"error: {text}")


def need_kovar(path):
    """Fails unless the program has been built."""
    if not path.is_file():
        fail(f"{path} is not built; cmake --preset release && cmake --build build/release --target kovar_tool")


def peer_python(given):
    """The Python that runs the PyTorch side."""
    venv = ROOT / "venv" / "bin" / "python"
    python = str(given or (venv if venv.exists() else sys.executable))
    try:
        found = subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode == 0
    except OSError:
        found = False
    if not found:
        fail(f"{python} has no PyTorch; make one in the repository's folder: {MAKE_PEERS}")
    return python


def output_of(command, threads):
    # Both sides get the same limit; a library that starts its own pool reads the environment.
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        fail(f"{pathlib.Path(str(command[0])).name} ended with status {done.returncode}: {reason}")
    return done.stdout


def machine():
    name = platform.processor() or platform.machine()
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"{name}, {os.cpu_count()} logical processors"


def revision():
    done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True,
                          check=False)
    return done.stdout.strip() or "unknown revision"
