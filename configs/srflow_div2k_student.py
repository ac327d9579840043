"""Feed-forward students of SRFlow on DIV2K: x4 (default) or x8.

Baranchuk et al. (2021), table 1: x4 PSNR 27.32, SSIM 0.77, LPIPS 0.120, LR-PSNR 49.52,
diversity 0.064, 20.39 M weights, 2.1 times as fast as the teacher; x8 23.30, 0.58,
0.269, 48.36, 0.159, 16.16 M, 4.9 times. Not trained here, see srflow_div2k.py.

  python -m fdnf.main --config=configs/srflow_div2k_student.py:x4 --workdir=runs/ff_x4
"""

from configs.srflow import published_students as get_config

__all__ = ["get_config"]
