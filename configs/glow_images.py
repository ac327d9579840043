"""Glow on images of your own: a folder of PNG and JPEG files, or an .npz of pixels.

python -m fdnf.main --config=configs/glow_images.py --config.data.path=photos
    --workdir=runs/own

The middle of each image, shrunk to 32x32; --config.data.size=64 for others, and
--config.data.channels=1 for grey ones. With `:npz` the path is that of an .npz
file of uint8 pixels [images, height, width, channels]. What else there is, such as
classes and how images are split: --print_config.
"""

from ml_collections import ConfigDict

from configs import common, glow

# For a CPU; on a GPU those of glow_cifar10 or glow_celeba64.
TEACHER = {"levels": 3, "steps": 8, "hidden": 64}
STUDENT = {"levels": 3, "steps": 4, "hidden": 64}
KEYS = {"train/steps": 10_000, "optim/ema": 0.999}
NPZ = common.Choice(("npz",))


def get_config(arg: str = ""):
    words = common.parse_arg(arg, (NPZ, *glow.words()))
    config = glow.images(
        "image_npz" if "npz" in words else "image_folder",
        ",".join(words - {"npz"}),
        TEACHER,
        STUDENT,
        KEYS,
    )
    for each in (config, config.get("teacher", {}).get("config")):
        if each and each.data.name == "image_folder":
            each.data.args = ConfigDict({"size": 32, "fit": "crop"})
    return config
