"""Continuous flow on toy sets in the plane; `figures/density.png` shows its density.

python -m fdnf.main --config=configs/continuous_toys.py:rings,pairs --workdir=runs/rings

Two moons, seed 0, log-likelihood of the 2,500 test rows in nats: -1.000 (se 0.015)
after 10,000 steps, 3 minutes of one busy core; the MAF of `maf_toys.py` after its 5,000
-1.021 (se 0.015). (With 4 levels of 4 steps, where here are 8 of 2.)

Its steps on 300 of these rows, against 64 of tsit5: how often v is evaluated; log
densities, the mean difference and the largest; latents, and data after both ways, the
largest difference.

             evaluations   mean      largest   latents   both ways
  heun 16             32    0.015    0.25      4e-2      4e-2
  tsit5 4             24   -0.019    1.8       2e-1      3e-1
  tsit5 8             48    0.006    0.99      3e-2      8e-2
  tsit5 16            96    0.0001   0.004     6e-4      5e-4
"""

from configs import common, vectors

SETS = common.Choice(vectors.TOYS)


def get_config(arg: str = ""):
    words = common.parse_arg(arg, (SETS, *vectors.CONTINUOUS_WORDS))
    data = next((word for word in SETS.words if word in words), SETS.words[0])
    return vectors.continuous(data, ",".join(words - {*SETS.words}))
