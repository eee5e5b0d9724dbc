"""torch's matrix products on the CPU beside ours, in rounds.

usage: python gemm_torch.py [MxNxK ...] [--threads 1,2] [--rounds 9] [--seconds 0.05] [--turn 1]
                            [--ours COMMAND] [--json]

Every contestant multiplies once in every round, for at least so many seconds, after a product that is
not timed. Ours is a process that waits for requests (`cargo bench --bench gemm -- --serve`, unless
COMMAND names a built one), so that both take turns within a second. Ratios are medians of the ratios
of the rounds. --turn 16 multiplies by 16 matrices in turn, which come from memory. Needs torch 2.15
or later; never a dependency of ours.
"""
import argparse
import itertools
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

SHAPES = """256x256x256 512x512x512 1024x1024x1024 2048x2048x2048 4096x4096x4096 2048x8192x2048
1x4096x4096 16x4096x4096""".split()
E4M3 = "e4m3:tensor:torchao"
BLOCKS = "e4m3:1x128:te-block*e4m3:128x128:te-block"
MX = "e4m3:1x32:te-mx"
# Name, product, type of the output.
OURS = [
    ("quarter e4m3", f"{E4M3}*{E4M3}", "bf16"),
    ("quarter blockwise", BLOCKS, "bf16"),
    ("quarter mxfp8", f"{MX}*{MX}", "bf16"),
    ("quarter bf16", "bf16*bf16", "bf16"),
    ("quarter f32", "f32*f32", "f32"),
]

parser = argparse.ArgumentParser()
parser.add_argument("shapes", nargs="*", default=SHAPES)
parser.add_argument("--threads", default="1,2")
parser.add_argument("--rounds", type=int, default=9)
parser.add_argument("--seconds", type=float, default=0.05)
parser.add_argument("--turn", type=int, default=1)
parser.add_argument("--ours", default="cargo bench --quiet --bench gemm -- --serve")
parser.add_argument("--json", action="store_true")
args = parser.parse_args()

if "," in args.threads:  # torch's threads belong to a process
    given = sys.argv[1:]
    for threads in args.threads.split(","):
        status = subprocess.run([sys.executable, __file__, *given, "--threads", threads]).returncode
        if status:
            sys.exit(status)
    sys.exit(0)

THREADS = int(args.threads)
# Ours first: it holds its threads to cores itself.
ours = subprocess.Popen(
    shlex.split(args.ours),
    cwd=Path(__file__).resolve().parents[2],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
)
cores = os.cpu_count()
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(THREADS)
if THREADS == 1:
    os.sched_setaffinity(0, {cores - 1})
else:
    places = [str((cores - 1 - i) % cores) for i in range(THREADS)]
    os.environ["GOMP_CPU_AFFINITY"] = " ".join(places)

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

torch.set_num_threads(THREADS)


def ask(product, shape, out):
    """Seconds of one product of ours."""
    words = [product, *shape, THREADS, out, args.turn, args.seconds]
    ours.stdin.write(" ".join(map(str, words)) + "\n")
    ours.stdin.flush()
    answer = ours.stdout.readline()
    if not answer:
        sys.exit("our process ended")
    return float(answer)


def clock(run):
    """Seconds of one product of torch's."""
    start = time.perf_counter()
    run()
    if time.perf_counter() - start < 1:  # else it is warm by itself
        start, runs = time.perf_counter(), 0
        while True:
            run()
            runs += 1
            if time.perf_counter() - start >= args.seconds:
                return (time.perf_counter() - start) / runs
    return time.perf_counter() - start


def torchs(m, n, k):
    """What torch can do with the same shapes."""
    turn = range(args.turn)
    at = itertools.cycle(turn)
    x = torch.randn(m, k)
    w = torch.randn(n, k)
    x16, x8 = x.bfloat16(), x.to(torch.float8_e4m3fn)
    w32 = [w.clone() for _ in turn]
    w16 = [w.bfloat16() for _ in turn]
    w8 = [w.to(torch.float8_e4m3fn) for _ in turn]
    out = torch.empty(m, n)
    one = torch.tensor(1.0)

    def scaled():
        b = w8[next(at)].t()
        return torch._scaled_mm(x8, b, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)

    def dequantised():
        return F.linear(x8.to(torch.bfloat16), w8[next(at)].to(torch.bfloat16))

    return [
        ("torch bf16", lambda: F.linear(x16, w16[next(at)])),
        ("torch f32", lambda: torch.mm(x, w32[next(at)].t(), out=out)),
        ("torch._scaled_mm e4m3", scaled),
        ("torch dequantise, bf16", dequantised),
    ]


def measure(shape):
    m, n, k = shape
    contestants = [
        (name, lambda product=product, out=out: ask(product, shape, out)) for name, product, out in OURS
    ]
    for name, run in torchs(m, n, k):
        try:
            run()
        except Exception as error:  # a version without the operation
            print(f"  {name}: not here: {str(error).splitlines()[0][:120]}", flush=True)
            continue
        contestants.append((name, lambda run=run: clock(run)))
    for _, run in contestants[: len(OURS)]:
        run()  # makes its operands
    seconds = {name: [] for name, _ in contestants}
    for round_ in range(args.rounds):
        # Another one goes first each time, so that nobody always follows the same neighbour.
        for i in range(len(contestants)):
            name, run = contestants[(i + round_) % len(contestants)]
            time.sleep(0.003)  # until the other's threads have gone to sleep
            seconds[name].append(run())
    return seconds


def report(text, seconds, operations):
    for name, times in seconds.items():
        rates = sorted(operations / s / 1e9 for s in times)
        row = dict(shape=text, threads=THREADS, turn=args.turn, name=name)
        row |= dict(median=statistics.median(rates), low=rates[0], high=rates[-1])
        if not name.startswith("quarter"):
            row["quarter_is_times_as_fast"] = {
                our: statistics.median(t / o for t, o in zip(times, seconds[our])) for our, *_ in OURS
            }
        if args.json:
            print(json.dumps(row), flush=True)
            continue
        line = f"  {name:24s} {row['median']:7.1f} ({row['low']:6.1f} to {row['high']:6.1f}) GFLOP/s"
        for our, ratio in row.get("quarter_is_times_as_fast", {}).items():
            line += f"  {ratio:5.2f} x {our.removeprefix('quarter ')}"
        print(line, flush=True)


if not args.json:
    print(f"torch {torch.__version__}, {THREADS} thread(s), {args.rounds} rounds")
    print("GFLOP/s: median (lowest to highest); x: how many times as fast ours is, in the same rounds")
for text in args.shapes:
    m, n, k = map(int, text.split("x"))
    if not args.json:
        print(f"\n{text}" + (f", {args.turn} matrices in turn" if args.turn > 1 else ""), flush=True)
    report(text, measure((m, n, k)), 2 * m * n * k)
ours.stdin.close()
ours.wait()
