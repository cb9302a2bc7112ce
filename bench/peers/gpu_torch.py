"""How fast PyTorch is on the GPU at the work of bench_device_bench and of `kovar train digits`: one line for each job.

Its best: cuDNN's own search for algorithms, channels last, work recorded as CUDA graphs, fused Adam. Names are those of
bench_device_bench. Times are medians by CUDA events.

  python bench/peers/gpu_torch.py [OUT.json]
"""

import json
import statistics
import sys

import torch
import torch.nn.functional as F

import digits_net

DEVICE = torch.device("cuda")
BATCH = 64
# name: channels in, channels out, side, kernel, stride, padding, groups
CONVOLUTIONS = {
    "stem7x7s2 3-64@224": (3, 64, 224, 7, 2, 3, 1),
    "1x1 64-256@56": (64, 256, 56, 1, 1, 0, 1),
    "3x3 128-128@28": (128, 128, 28, 3, 1, 1, 1),
    "1x1 1024-256@14": (1024, 256, 14, 1, 1, 0, 1),
    "3x3 512-512@7": (512, 512, 7, 3, 1, 1, 1),
    "dw3x3s2 96@112": (96, 96, 112, 3, 2, 1, 96),
    "dw3x3 384@14": (384, 384, 14, 3, 1, 1, 384),
}
results = {}


def recorded(work):
    """The same work as a CUDA graph; as it is where it cannot be recorded."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            work()
    except RuntimeError:
        torch.cuda.synchronize()
        return work
    return graph.replay


def milliseconds(work, repeats=11, inner=10):
    for _ in range(5):
        work()
    torch.cuda.synchronize()
    times = []
    for _ in range(repeats):
        start, end = torch.cuda.Event(True), torch.cuda.Event(True)
        start.record()
        for _ in range(inner):
            work()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / inner)
    return statistics.median(times)


def put(name, work, flop=0, nbytes=0, **options):
    try:
        ms = milliseconds(recorded(work), **options)
    except RuntimeError as error:
        print(f"{name:42} {str(error).splitlines()[0]}", flush=True)
        return
    results[name] = {"ms": round(ms, 5)}
    rate = f" {flop / ms * 1e-9:8.2f} TFLOP/s" if flop else f" {nbytes / ms * 1e-6:8.1f} GB/s" if nbytes else ""
    print(f"{name:42} {ms:10.4f} ms{rate}", flush=True)


def precise(tf32):
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32


def convolutions():
    backward = torch.ops.aten.convolution_backward
    for tag in ("fp32", "tf32", "fp16"):
        precise(tag == "tf32")
        kind = torch.float16 if tag == "fp16" else torch.float32
        for name, (ci, co, side, kernel, stride, pad, groups) in CONVOLUTIONS.items():
            x = torch.randn(BATCH, ci, side, side, device=DEVICE, dtype=kind).to(memory_format=torch.channels_last)
            w = torch.randn(co, ci // groups, kernel, kernel, device=DEVICE, dtype=kind)
            w = w.to(memory_format=torch.channels_last)
            y = F.conv2d(x, w, None, stride, pad, 1, groups)
            dy = torch.randn_like(y)
            flop = 2 * y.numel() * (ci // groups) * kernel * kernel

            def gradient(mask, dy=dy, x=x, w=w, stride=stride, pad=pad, groups=groups):
                return backward(dy, x, w, None, [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], groups, mask)

            put(f"conv fwd {name} b{BATCH} {tag}", lambda: F.conv2d(x, w, None, stride, pad, 1, groups), flop)
            put(f"conv data {name} b{BATCH} {tag}", lambda: gradient([True, False, False]), flop)
            put(f"conv weights {name} b{BATCH} {tag}", lambda: gradient([False, True, False]), flop)


def memory_bound():
    x = torch.randn(64, 64, 112, 112, device=DEVICE).to(memory_format=torch.channels_last)
    size = x.numel() * 4
    where = "64@112 b64"
    half = F.max_pool2d(x, 3, 2, 1)
    put(f"maxpool3s2 {where}", lambda: F.max_pool2d(x, 3, 2, 1), nbytes=size * 1.25)
    put(f"avgpool3s2 {where}", lambda: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), nbytes=size * 1.25)
    _, index = torch.ops.aten.max_pool2d_with_indices(x, [3, 3], [2, 2], [1, 1])
    put(f"maxpool3s2 gradient {where}",
        lambda: torch.ops.aten.max_pool2d_with_indices_backward(half, x, [3, 3], [2, 2], [1, 1], [1, 1], False, index),
        nbytes=size * 2.25)
    put(f"avgpool3s2 gradient {where}",
        lambda: torch.ops.aten.avg_pool2d_backward(half, x, [3, 3], [2, 2], [1, 1], False, False, None),
        nbytes=size * 2.25)
    put(f"relu {where}", lambda: F.relu(x), nbytes=size * 2)
    put(f"gelu {where}", lambda: F.gelu(x), nbytes=size * 2)
    put(f"relu gradient {where}", lambda: torch.ops.aten.threshold_backward(x, x, 0), nbytes=size * 3)
    put(f"broadcast add {where}", lambda: x + x[:1, :, :1, :1], nbytes=size * 2)
    y = F.softmax(x, 1)
    put(f"softmax channels {where}", lambda: F.softmax(x, 1), nbytes=size * 2)
    put(f"softmax gradient {where}", lambda: torch.ops.aten._softmax_backward_data(x, y, 1, torch.float32),
        nbytes=size * 3)
    put(f"mean over HW {where}", lambda: x.mean((2, 3)), nbytes=size)
    put(f"mean over C {where}", lambda: x.mean(1), nbytes=size)
    put(f"sum over NHW {where}", lambda: x.sum((0, 2, 3)), nbytes=size)
    put(f"argmax over C {where}", lambda: x.argmax(1), nbytes=size)
    put(f"dropout {where}", lambda: F.dropout(x, 0.5), nbytes=size * 2)
    z = torch.empty_like(x)
    put(f"copy fp32-fp32 {where}", lambda: z.copy_(x), nbytes=size * 2)
    parameters = [torch.randn(25_000_000, device=DEVICE, requires_grad=True)]
    parameters[0].grad = torch.randn_like(parameters[0])
    adam = torch.optim.Adam(parameters, fused=True, capturable=True)
    put("adam 25M", adam.step, nbytes=25e6 * 4 * 7)


def training():
    precise(False)
    for tf32 in (False, True):
        precise(tf32)
        for batch in (40, 128, 1024):
            net = digits_net.DigitNet().to(DEVICE).to(memory_format=torch.channels_last).train()
            images = torch.randn(batch, 1, 28, 28, device=DEVICE).to(memory_format=torch.channels_last)
            labels = torch.randint(0, 10, (batch,), device=DEVICE)
            optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True, capturable=True)

            def step():
                optimizer.zero_grad(set_to_none=False)
                F.cross_entropy(net(images), labels).backward()
                optimizer.step()

            name = f"train digits b{batch} {'tf32' if tf32 else 'fp32'}"
            put(name, step, repeats=21, inner=5)
            if name in results:
                results[name]["images_per_second"] = round(batch / results[name]["ms"] * 1000)


def main():
    torch.backends.cudnn.benchmark = True
    results["device"] = torch.cuda.get_device_name()
    results["torch"] = torch.__version__
    results["cudnn"] = torch.backends.cudnn.version()
    print(results["device"], results["torch"], results["cudnn"])
    training()
    with torch.no_grad():
        memory_bound()
        convolutions()
    if len(sys.argv) > 1:
        with open(sys.argv[1], "w", encoding="utf-8") as out:
            json.dump(results, out, indent=1)


if __name__ == "__main__":
    main()
