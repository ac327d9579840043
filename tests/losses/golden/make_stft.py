"""Makes stft.npz from auraloss. Run by hand, once; fdnf never imports PyTorch.

    pip install torch==2.13.0 auraloss==0.4.0
    python tests/losses/golden/make_stft.py

auraloss's eps bounds the squared magnitude from below, as our floor does: it is set to
1e-7, the authors' value (auraloss's own default is 1e-8). Its Hann window is periodic
and its frames centred with reflection, as everywhere here.
"""

import pathlib

import numpy as np

HERE = pathlib.Path(__file__).parent
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
FLOOR = 1e-7


def sounds(batch=2, samples=4000):
    """Two sounds alike, from RandomState, whose streams are frozen."""
    rng = np.random.RandomState(0)
    t = np.arange(samples)
    pitch = np.array([0.03, 0.07])[:batch, None]
    y = 0.3 * np.sin(pitch * t) * np.exp(-t / 3000)
    y += 0.01 * rng.standard_normal((batch, samples))
    x = 0.9 * y + 0.02 * rng.standard_normal((batch, samples))
    # Digital silence, where the floor decides.
    x[0, :1500] = 0
    y[1, -1500:] = 0
    return x.astype(np.float32), y.astype(np.float32)


def main():
    import auraloss
    import torch

    x, y = (torch.from_numpy(sound)[:, None] for sound in sounds())
    arrays = {}
    for n_fft, hop, length in RESOLUTIONS:
        loss = auraloss.freq.STFTLoss(
            n_fft, hop, length, eps=FLOOR, output="full", w_sc=1.0, w_log_mag=1.0
        )
        _, convergence, log_magnitude, *_ = loss(x, y)
        arrays[f"sc_{n_fft}"] = np.float64(convergence)
        arrays[f"mag_{n_fft}"] = np.float64(log_magnitude)
    fft_sizes, hops, lengths = (list(part) for part in zip(*RESOLUTIONS, strict=True))
    whole = auraloss.freq.MultiResolutionSTFTLoss(fft_sizes, hops, lengths, eps=FLOOR)
    arrays["multi_resolution"] = np.float64(whole(x, y))
    np.savez(HERE / "stft.npz", **arrays)


if __name__ == "__main__":
    main()
