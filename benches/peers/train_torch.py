"""Steps of training in PyTorch on the CPU beside `quarter bench train`, in rounds.

usage: python train_torch.py [nano|baby] [--threads 2] [--rounds 5] [--steps 4] [--peers f32,bf16,tensorwise,rowwise]
                             [--recipes f32,bf16,...] [--ours COMMAND] [--memory]

The model is the one of `quarter train` (pre-norm, tanh GELU, causal attention, no biases, untied head),
with PyTorch's fused AdamW and clipping. Peers are f32, bf16 autocast, and torchao's float8 recipes,
emulated, in the linear layers of the blocks. In each round every peer makes so many steps after one
that is not timed, and ours makes rounds of single steps of every recipe. Tokens a second: medians, and
how many times as fast ours is, as medians of the ratios of the rounds. --memory instead runs each in a
process of its own for a few steps: the most memory that was resident. Needs torch 2.15 and torchao 0.18
or later; never a dependency of ours.
"""
import argparse
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"nano": (4, 4, 128, 128, 16), "baby": (6, 6, 384, 256, 8)}
RECIPES = "f32,bf16,current,delayed,rowwise,blockwise,mxfp8,mxfp8_floor"

parser = argparse.ArgumentParser()
parser.add_argument("size", nargs="?", default="nano", choices=SIZES)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--steps", type=int, default=4)
parser.add_argument("--peers", default="f32,bf16,tensorwise,rowwise")
parser.add_argument("--recipes", default=RECIPES)
parser.add_argument("--ours", default="cargo run --quiet --release -p quarter-cli --")
parser.add_argument("--memory", action="store_true")
parser.add_argument("--alone", help=argparse.SUPPRESS)
args = parser.parse_args()
LAYERS, HEADS, WIDTH, CONTEXT, BATCH = SIZES[args.size]
PEERS, RECIPES = args.peers.split(","), args.recipes.split(",")
OURS = shlex.split(args.ours)


def peak_of(command):
    """The most memory that a command had resident, MiB."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command}: status {status}")
    return usage.ru_maxrss / 1024


if args.memory:
    options = [args.size, "--threads", str(args.threads), "--steps", str(args.steps)]
    for peer in PEERS:
        peak = peak_of([sys.executable, __file__, *options, "--alone", peer])
        print(f"torch {peer:12s} {peak:7.0f} MiB", flush=True)
    options = ["--model", args.size, "--threads", str(args.threads), "--steps", str(args.steps)]
    for recipe in RECIPES:
        peak = peak_of([*OURS, "train", *options, "--val-rows", str(BATCH), "--recipe", recipe])
        print(f"quarter {recipe:10s} {peak:7.0f} MiB", flush=True)
    sys.exit(0)

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(args.threads)
if args.threads > 1:
    os.environ["GOMP_CPU_AFFINITY"] = " ".join(map(str, range(args.threads)))

import logging  # noqa: E402

import torch  # noqa: E402
import torch.nn as nn  # noqa: E402
import torch.nn.functional as F  # noqa: E402

logging.disable(logging.WARNING)
torch.set_num_threads(args.threads)
TEXT = torch.frombuffer(bytearray(b"".join(p.read_bytes() for p in sorted(ROOT.glob("src/**/*.rs")))), dtype=torch.uint8)


def linear(outputs, inputs):
    return nn.Linear(inputs, outputs, bias=False)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, bias=False), nn.LayerNorm(WIDTH, bias=False)
        self.qkv, self.proj = linear(3 * WIDTH, WIDTH), linear(WIDTH, WIDTH)
        self.up, self.down = linear(4 * WIDTH, WIDTH), linear(WIDTH, 4 * WIDTH)

    def forward(self, x):
        shape = (BATCH, CONTEXT, HEADS, WIDTH // HEADS)
        q, k, v = (part.reshape(shape).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(WIDTH, -1))
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(heads.transpose(1, 2).reshape(x.shape))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(256, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm, self.head = nn.LayerNorm(WIDTH, bias=False), linear(256, WIDTH)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, inputs, targets):
        x = self.wte(inputs) + self.wpe.weight
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy(self.head(self.norm(x)).float().flatten(0, 1), targets.flatten())


class Peer:
    def __init__(self, name):
        torch.manual_seed(0)
        self.bf16 = name == "bf16"
        self.model = Gpt()
        if name not in ("f32", "bf16"):
            import dataclasses

            from torchao.float8 import Float8LinearConfig, convert_to_float8_training

            config = dataclasses.replace(Float8LinearConfig.from_recipe_name(name), emulate=True)
            inside = lambda module, path: path.startswith("blocks")  # noqa: E731
            convert_to_float8_training(self.model, config=config, module_filter_fn=inside)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, betas=(0.9, 0.95), fused=True)

    def step(self):
        starts = torch.randint(len(TEXT) - CONTEXT - 1, (BATCH,)).tolist()
        rows = torch.stack([TEXT[start : start + CONTEXT + 1] for start in starts]).long()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            loss = self.model(rows[:, :-1], rows[:, 1:])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    def rate(self, steps):
        self.step()
        start = time.perf_counter()
        for _ in range(steps):
            self.step()
        return steps * BATCH * CONTEXT / (time.perf_counter() - start) / 1e3


if args.alone:
    peer = Peer(args.alone)
    for _ in range(args.steps):
        peer.step()
    sys.exit(0)


def ours():
    """Thousands of tokens a second of each recipe."""
    command = [*OURS, "bench", "train", "--model", args.size, "--threads", str(args.threads), "--json"]
    command += ["--seconds", "0.1"] + [word for recipe in RECIPES for word in ("--recipe", recipe)]
    # Not on the one core that OpenMP holds this thread to.
    free = lambda: os.sched_setaffinity(0, range(os.cpu_count()))  # noqa: E731
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, preexec_fn=free)
    rates = {}
    for line in done.stdout.splitlines():
        row = json.loads(line)
        name = row["kernel"].removeprefix("train ")
        if name in RECIPES and row.get("unit") == "ktokens/s":
            rates[name] = row["median"]
    return rates


peers = {name: Peer(name) for name in PEERS}
for peer in peers.values():
    peer.step()
rates = {name: [] for name in [*(f"torch {name}" for name in PEERS), *(f"quarter {name}" for name in RECIPES)]}
for round_ in range(args.rounds):
    # Another one goes first each time.
    for i in range(len(PEERS) + 1):
        at = (i + round_) % (len(PEERS) + 1)
        if at < len(PEERS):
            rates[f"torch {PEERS[at]}"].append(peers[PEERS[at]].rate(args.steps))
        else:
            for name, rate in ours().items():
                rates[f"quarter {name}"].append(rate)
        time.sleep(0.05)

print(f"torch {torch.__version__}, {args.size}, {args.threads} thread(s), {args.rounds} rounds")
print("thousands of tokens a second: median (lowest to highest); times a peer in the same rounds")
for name, values in rates.items():
    line = f"{name:20s} {statistics.median(values):7.2f} ({min(values):6.2f} to {max(values):6.2f})"
    if name.startswith("quarter"):
        for peer in PEERS:
            ratio = statistics.median(a / b for a, b in zip(values, rates[f"torch {peer}"]))
            line += f"  {ratio:5.2f} x {peer}"
    print(line, flush=True)
