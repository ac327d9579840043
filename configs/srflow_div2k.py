"""SRFlow on DIV2K and Flickr2K: x4 (default) or x8.

The papers' models. Baranchuk et al. (2021), table 1, on DIV2K's validation images: x4
PSNR 27.07, SSIM 0.76, LPIPS 0.120, LR-PSNR 49.75, diversity 0.068, 39.54 M weights;
x8 23.01, 0.57, 0.271, 50.20, 0.168, 50.84 M. Not trained here: no GPU and no DIV2K
were at hand. What was: that it builds, counts, and takes a step.

  python -m fdnf.main --config=configs/srflow_div2k.py:x4 --workdir=runs/srflow_x4
"""

from configs.srflow import published as get_config

__all__ = ["get_config"]
