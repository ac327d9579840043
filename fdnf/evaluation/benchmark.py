"""Throughput of one case, as one JSON line.

  python -m fdnf.evaluation.benchmark --case maf_train --dim 63 --hidden 128

Cases:
  maf_train, coupling_train       the project's own training step, Adam, per step
  maf_logprob                     density of one batch
  maf_sample, coupling_sample     one batch of samples
  nsf_train, nsf_logprob, nsf_sample
                                  as maf_*, with rational-quadratic splines
  nsc_train, nsc_logprob, nsc_sample
                                  the same splines in couplings of halves
  ilkd_train                      an ILKD step of a MAF half as deep as its teacher
  glow_train, glow_sample         multi-scale Glow on --size x --size x 3 images
  wavenet_logprob, wavenet_sample WaveNet on waveforms of --dim samples
A MAF has --layers blocks of a MADE of two hidden ReLU layers in alternating order; a
coupling flow (RealNVP) has as many affine couplings over alternating halves. Splines
have 8 bins on [-3, 3] and linear tails; their couplings reverse the order, one a step.
A Glow has --levels levels of --layers-per-level steps, --hidden channels in its
couplings; samples come from the folded one, as they do everywhere in fdnf. A WaveNet is
one cycle of --layers layers of --hidden channels; it samples from what it keeps of the
past. Without that a waveform would take --dim times what its density does, or, of
windows that are just as long as the network sees, --dim times the density of one.
Everything is warmed up and blocked on; times are medians of repetitions for --seconds.
"""

import argparse
import os
import resource
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdnf import files

CASES = (
    "maf_train",
    "maf_logprob",
    "maf_sample",
    "coupling_train",
    "coupling_sample",
    "nsf_train",
    "nsf_logprob",
    "nsf_sample",
    "nsc_train",
    "nsc_logprob",
    "nsc_sample",
    "ilkd_train",
    "glow_train",
    "glow_sample",
    "wavenet_logprob",
    "wavenet_sample",
)

SPLINE = {"name": "spline", "bins": 8, "box": 3.0}


def _arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fdnf.evaluation.benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--case", required=True, choices=CASES)
    parser.add_argument("--dim", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--size", type=int, default=32, help="of images, glow_*")
    parser.add_argument("--levels", type=int, default=3, help="glow_*")
    parser.add_argument("--layers-per-level", type=int, default=8, help="glow_*")
    parser.add_argument("--dtype", default="float32", help="or bfloat16, glow_*")
    parser.add_argument("--no-remat", action="store_true", help="glow_*")
    parser.add_argument("--seconds", type=float, default=4.0, help="to repeat for")
    parser.add_argument("--threads", type=int, default=0, help="cores, 0 for all")
    parser.add_argument("--inverse", default="auto", help="MAF's inverse, *_sample")
    parser.add_argument("--runs", type=int, default=1, help="trained side by side")
    parser.add_argument("--pack", default="auto", help="how runs share a program")
    parser.add_argument(
        "--steps-per-call", type=int, default=16, help="training steps of one call"
    )
    parser.add_argument(
        "--trained", type=int, default=0, help="steps of training before *_sample"
    )
    args = parser.parse_args(argv)
    # A large first batch would be all that the peak memory shows.
    large = args.case.startswith(("glow", "wavenet"))
    args.init_rows = args.batch if large else 1024
    return args


def tabular(dim: int, rows: int, seed: int = 0) -> np.ndarray:
    """Correlated, non-Gaussian rows of unit variance, float32."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(1234).normal(size=(dim, dim)) / np.sqrt(dim)
    x = rng.normal(size=(rows, dim)) @ (mix + 0.5 * np.eye(dim))
    x += 0.5 * np.sin(2 * np.roll(x, 1, 1))
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32)


def images(size: int, rows: int, seed: int = 0) -> np.ndarray:
    """Smooth random images, uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 224, (rows, size // 4, size // 4, 3))
    smooth = coarse.repeat(4, axis=1).repeat(4, axis=2)
    return (smooth + rng.uniform(0, 32, smooth.shape)).astype(np.uint8)


def _rows(args: argparse.Namespace, rows: int) -> np.ndarray:
    if args.case.startswith("glow"):
        return images(args.size, rows)
    if args.case.startswith("wavenet"):
        noise = np.random.default_rng(0).normal(size=(rows, args.dim, 1))
        return (0.1 * noise).astype(np.float32)
    return tabular(args.dim, rows)


def _preprocess(args: argparse.Namespace):
    from fdnf.train.preprocess import Preprocess

    return Preprocess(levels=256 if args.case.startswith("glow") else 0)


def _flow(args: argparse.Namespace, layers: int):
    from fdnf.flows.glow import Glow
    from fdnf.flows.maf import MAF
    from fdnf.flows.realnvp import RealNVP
    from fdnf.flows.wavenet import GaussianWaveNet

    if args.case.startswith("glow"):
        return Glow(
            args.levels,
            args.layers_per_level,
            args.hidden,
            dtype=args.dtype,
            remat=not args.no_remat,
        )
    if args.case.startswith("wavenet"):
        return GaussianWaveNet(layers=layers, cycles=1, channels=args.hidden)
    hidden = (args.hidden,) * 2
    if args.case.startswith("coupling"):
        return RealNVP(steps=max(1, layers // 2), hidden=hidden)
    if args.case.startswith("nsc"):
        return RealNVP(
            steps=layers,
            hidden=hidden,
            transformer=SPLINE,
            partition="half",
            mixing="reverse",
        )
    transformer = SPLINE if args.case.startswith("nsf") else "affine"
    return MAF(
        steps=layers, hidden=hidden, inverse=args.inverse, transformer=transformer
    )


def build_train(args: argparse.Namespace) -> tuple[Callable[[], Any], int]:
    """A function that takes `steps_per_call` training steps, and that number."""
    import jax
    import jax.numpy as jnp
    from ml_collections import ConfigDict

    from fdnf.train import batches, models, objectives, optim, step

    layers = args.layers
    config = ConfigDict(
        {
            "loss": {
                "method": "ilkd" if args.case == "ilkd_train" else "nll",
                "preset": "paper",
                "args": {},
                "fade": (1.0, 1.0),
            },
            "train": {"steps": 10**6},
        }
    )
    teacher, variables = None, {}
    data = {"train": jnp.asarray(_rows(args, 4 * args.batch))}
    prepared = _preprocess(args)
    if args.case == "ilkd_train":
        teacher = _flow(args, layers)
        variables = jax.jit(teacher.init)(jax.random.key(1), data["train"][:1024])
        layers = layers // 2
    flow = _flow(args, layers)
    optimizer = optim.make(
        ConfigDict(
            {
                "name": "adam",
                "lr": 1e-4,
                "schedule": "constant",
                "warmup": 0,
                "clip": 0.0,
                "weight_decay": 0.0,
                "b1": 0.9,
                "b2": 0.999,
                "eps": 1e-8,
            }
        ),
        10**6,
    )
    train_step = step.make_train_step(
        objectives.build(config, flow, teacher, 1.0),
        optimizer,
        batches.uniform(4 * args.batch, args.batch, 1),
        steps=args.steps_per_call,
        ema=0.0,
        pack=args.pack,
        preprocess=prepared,
    )
    keys = step.run_keys(0, args.runs)
    start, _ = prepared.encode(keys[0], data["train"][: args.init_rows])
    first = jnp.stack([start] * args.runs)
    state = models.init_state(flow, optimizer, keys, first, 0.0)
    # As in the training loop; otherwise the second call compiles again.
    mesh = jax.make_mesh((1,), (step.AXIS,), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    numbers = step.hyper(keys, weights=objectives.weights(config))
    placed = jax.device_put((state, numbers, data, variables), sharding)
    held = {"state": placed[0]}
    numbers, data, variables = placed[1:]
    go_on = np.zeros(1, np.int32)

    def call():
        held["state"], scalars = train_step(
            held["state"], go_on, numbers, data, variables
        )
        return jax.block_until_ready(scalars)

    call.state = held  # type: ignore[attr-defined]
    return call, args.steps_per_call


def build_forward(args: argparse.Namespace) -> tuple[Callable[[], Any], int]:
    """A function that evaluates or draws one batch."""
    import jax
    import jax.numpy as jnp

    from fdnf.flows import surgery
    from fdnf.flows.glow import Glow

    flow = _flow(args, args.layers)
    stored = jnp.asarray(_rows(args, args.batch))
    x, _ = _preprocess(args).encode(jax.random.key(2), stored)
    variables = jax.jit(flow.init)(jax.random.key(0), x[: args.init_rows])
    if args.trained:
        train, steps = build_train(args)
        for _ in range(-(-args.trained // steps)):
            train()
        params = train.state["state"].params  # type: ignore[attr-defined]
        variables = {"params": jax.tree.map(lambda leaf: leaf[0], params)}
    if args.case.endswith("logprob"):
        function = jax.jit(lambda v, x: flow.apply(v, x, method="log_prob"))
    else:
        if isinstance(flow, Glow):
            flow, variables = surgery.fold(flow, variables)

        def decode(v: Any, z: Any) -> Any:
            decoding: Any = flow.apply(v, z, method="decode")
            return decoding.x

        function = jax.jit(decode)
        x = flow.draw(jax.random.key(1), x.shape)
    return lambda: jax.block_until_ready(function(variables, x)), 1


def measure(call: Callable[[], Any], seconds: float) -> dict[str, Any]:
    """Wall and CPU seconds of a call: first, then the median over `seconds`."""
    from fdnf.evaluation.models import timing

    found = timing.measure(call, repeats=sys.maxsize, warmup=3, limit_s=seconds)
    return {
        "first_call_s": found.first_s,
        "median_s": found.median_s,
        "p10_s": found.p10_s,
        "p90_s": found.p90_s,
        "cpu_median_s": found.cpu_s,
        "reps": found.reps,
    }


def main() -> None:
    """Runs the case and prints its line."""
    args = _arguments()
    if args.threads:
        cores = sorted(os.sched_getaffinity(0))[-args.threads :]
        os.sched_setaffinity(0, set(cores))

    from fdnf.train import process

    process.prepare(images=args.case.startswith("glow"))
    train = args.case.endswith("train")
    call, steps = build_train(args) if train else build_forward(args)
    times = measure(call, args.seconds)
    for key in ("median_s", "p10_s", "p90_s", "cpu_median_s"):
        times[key] /= steps
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    line = vars(args) | times
    line["units_per_s"] = args.batch * args.runs / times["median_s"]
    line["peak_rss_mib"] = rss
    print(files.dumps(line))


if __name__ == "__main__":
    main()
