"""SRFlow on DIV2K and Flickr2K, and its feed-forward student: x4 (default) or x8.

  python -m fdnf.main --config=configs/srflow_div2k.py:x4 --workdir=runs/srflow_x4
  python -m fdnf.main --config=configs/srflow_div2k.py:student,x4 --workdir=runs/ff_x4

The papers' models. Baranchuk et al. (2021), table 1, on DIV2K's validation images:

               PSNR    SSIM   LPIPS   LR-PSNR   diversity   weights
  x4 teacher   27.07   0.76   0.120   49.75     0.068       39.54 M
  x4 student   27.32   0.77   0.120   49.52     0.064       20.39 M, 2.1 times as fast
  x8 teacher   23.01   0.57   0.271   50.20     0.168       50.84 M
  x8 student   23.30   0.58   0.269   48.36     0.159       16.16 M, 4.9 times as fast

Not trained here: no GPU and no DIV2K were there. What was done: each builds, has the
right number of weights, and takes a step.
"""

from configs import srflow


def get_config(arg: str = ""):
    return srflow.published(arg)
