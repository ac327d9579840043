from . import (
    c2st as c2st,
    columns as columns,
    calibration as calibration,
    griffin_lim as griffin_lim,
    harmonics as harmonics,
    importance as importance,
    kid as kid,
    lpips as lpips,
    pitch as pitch,
    prdc as prdc,
    proposals as proposals,
    showers as showers,
)
from .fid import (
    frechet_distance as frechet_distance,
    frechet_distance_of_samples as frechet_distance_of_samples,
)
from .image import lr_psnr as lr_psnr, psnr as psnr, ssim_uniform7 as ssim_uniform7
from .likelihood import bits_per_dim as bits_per_dim
from .speech import (
    mel_cepstral_distortion as mel_cepstral_distortion,
    mel_l1 as mel_l1,
    pesq as pesq,
    stft_distance as stft_distance,
    stoi as stoi,
)
from .two_sample import (
    energy_distance as energy_distance,
    kolmogorov_smirnov as kolmogorov_smirnov,
    mean_difference as mean_difference,
    mmd as mmd,
    sliced_wasserstein as sliced_wasserstein,
)
