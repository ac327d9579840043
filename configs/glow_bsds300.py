"""Tabular Glow on BSDS300.

python -m fdnf.main --config=configs/glow_bsds300.py --workdir=runs/glow_bsds300

Log-likelihood in nats, seed 0, 15,000 steps, two CPU cores. Patches are drawn from the
original images, so test figures compare with published ones in distribution, validation
figures only where the same 20 images are held out.

                        validation   test     Walton et al. (2023), table 1
  teacher (K=5, h=64)   161.85       150.36   165.702
  student (K=3, h=32)   158.98       147.37   147.298 (no distillation)

The paper says test; its released code evaluates the validation split.
"""

from configs import vectors


def get_config(arg: str = ""):
    return vectors.glow("bsds300", arg)
