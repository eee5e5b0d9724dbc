"""Quantizing with torch's own operations on the CPU, beside torch's copy of as many bytes.

usage: python quantize_torch.py [elements in Mi, 16] [threads, 1] [rounds, 15]

The same casts as `cargo bench --bench quantize`, by the operations that torch and torchao document:
amax, division, multiplication, clamp, to(float8_e4m3fn). Compare the last columns of both: time
over that of a copy in the same process, rounds interleaved. Needs torch 2.15 or later and torchao 0.18; never a
dependency of ours.
"""
import statistics
import sys
import time

import torch

MI, THREADS, ROUNDS = ([int(a) for a in sys.argv[1:]] + [16, 1, 15][len(sys.argv) - 1 :])[:3]
COLS = 4096
E4M3, FMAX = torch.float8_e4m3fn, 448.0
torch.set_num_threads(THREADS)
n = MI << 20
x = torch.randn(n // COLS, COLS)
half = x.to(torch.bfloat16)
source, copied = torch.empty(4 * n, dtype=torch.uint8), torch.empty(4 * n, dtype=torch.uint8)


def cast(x, q):
    return (x * q).clamp(-FMAX, FMAX).to(E4M3)


def scale(amax):
    return (FMAX / amax.clamp(min=1e-12).double()).float()


def given():
    return cast(x, 200.0)


def tensor():
    return cast(x, scale(x.abs().amax()))


def row():
    return cast(x, scale(x.abs().amax(-1, keepdim=True)))


def col():
    return cast(x, scale(x.abs().amax(0, keepdim=True)))


def block(x=x, size=128):
    groups = x.view(-1, COLS // size, size)
    return cast(groups, scale(groups.abs().amax(-1, keepdim=True)))


def square():
    groups = x.view(-1, 128, COLS // 128, 128)
    return cast(groups, scale(groups.abs().amax((1, 3), keepdim=True)))


def both():
    return block(), block(x.t().contiguous().view(-1)[: n].view(-1, COLS))


codes = block().view(-1, 128, COLS // 128, 128)
inverse = torch.rand(n // COLS // 128, 1, COLS // 128, 1)


def dequantize():
    return (codes.to(torch.float32) * inverse).to(torch.bfloat16)


def mx():
    from torchao.prototype.mx_formats.mx_tensor import ScaleCalculationMode, to_mx

    return to_mx(x, E4M3, 32, ScaleCalculationMode.RCEIL)


def copy(size):
    return lambda: copied[:size].copy_(source[:size])


cases = [
    ("e4m3:tensor with a given scale", given, 5),
    ("e4m3:tensor, own amax", tensor, 5),
    ("e4m3:row:torchao", row, 5),
    ("e4m3:col:torchao", col, 5),
    ("e4m3:1x128, f32 scales", block, 5),
    ("e4m3:128x128, f32 scales", square, 5),
    ("e4m3:1x128 of rows and of columns", both, 6),
    ("e4m3:1x32 MX (torchao to_mx, RCEIL)", mx, 5),
    ("dequantize 128x128 to bf16", dequantize, 3),
]
print(f"torch {torch.__version__}, {MI} Mi elements, {THREADS} thread(s)")
for name, run, size in cases:
    contestants = [copy(size * n // 2), run]
    try:
        for contestant in contestants:
            contestant()
    except Exception as error:  # a version without the operation
        print(f"{name:40s} not here: {error}")
        continue
    times = [[], []]
    for _ in range(ROUNDS):
        for contestant, seconds in zip(contestants, times):
            start = time.perf_counter()
            contestant()
            seconds.append(time.perf_counter() - start)
    ratio = statistics.median(b / a for a, b in zip(*times))
    speed = n / statistics.median(times[1]) / 1e9
    print(f"{name:40s} {speed:6.3f} Gelem/s {speed * size:6.1f} GB/s {ratio:6.2f} x a copy", flush=True)
