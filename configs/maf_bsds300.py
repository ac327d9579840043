"""MAF on BSDS300.

python -m fdnf.main --config=configs/maf_bsds300.py --workdir=runs/maf_bsds300

Log-likelihood in nats, seed 0, 30,000 steps, two CPU cores. Patches are drawn from the
original images, so test figures compare with published ones in distribution, validation
figures only where the same 20 images are held out.

                     validation   test     Walton et al. (2023), table 1
  teacher (K=6)      159.62       147.94   159.442
  student (K=3)      155.59       143.80   155.463 (no distillation)

maf_bsds300.py:spline, 10,000 steps of 1,024, fewer weights than the teacher (42,651):

  spline (K=3)       163.45       152.02

maf_bsds300.py:iaf,guided, teachers of 8,000 steps, seeds 0-2: C2ST of samples against
the teacher's 0.503 ± 0.008 (floor 0.500 ± 0.009), reverse KL 0.64 ± 0.19 nats in the
median, see RESULTS.md.

The paper says test; its released code evaluates the validation split.
"""

from configs import vectors


def get_config(arg: str = ""):
    return vectors.maf("bsds300", arg)
