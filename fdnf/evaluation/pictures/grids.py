"""Grids of images as PNG, pixel for pixel: samples, reconstructions, interpolations.

A figure is rows of panels. A row has a label on its left, a panel a title above it and
equal images in lines; small images are enlarged by a whole factor, so that no pixel is
blended with its neighbour.
"""

import math
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fdnf import files

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

Path = str | pathlib.Path
# Label of a row, title of each of its panels, images [n, height, width, 1 or 3].
Rows = Mapping[str, Mapping[str, np.ndarray]]

SIDE = 64  # Images are enlarged to about this many pixels.
MARGIN, GAP = 12, 16  # Around the figure, and between panels and rows.
INK, PAPER = "#222222", "#FFFFFF"
# Of the tiles of a panel that has too few images: visibly no image.
EMPTY = 235


def draw(
    rows: Rows,
    path: Path,
    *,
    across: int = 8,
    down: int = 2,
    levels: int = 256,
    wrap: int | None = None,
    zoom: int | None = None,
    gutter: int | None = None,
    title: str = "",
    note: str = "",
) -> pathlib.Path:
    """Draw rows of panels of images.

    A row of fewer panels than the fullest has wider ones, so that all rows end at one
    line. Titles are printed where they differ from those of the row above.

    Args:
        rows: label to title to uint8 images [n, height, width, channels], all of one
            shape but for n; the first of them are shown. Titles may be empty.
        path: where to write.
        across: images in a line of a panel of the fullest row.
        down: lines of a panel.
        levels: values are 0 to levels - 1; fewer than 256 are spread over the grey
            scale.
        wrap: panels after which a row goes on below; never by default.
        zoom: pixels a side that show one; by default so that images of less than 64
            pixels are enlarged to about that.
        gutter: pixels between images; by default more the larger a pixel is shown.
        title: above the figure.
        note: below it.

    Returns:
        The path.

    Raises:
        ValueError: no image, images of another type or of unequal shapes, or values
            beyond `levels`.
    """
    height, width, _ = _shape(rows, levels)
    zoom = zoom or max(1, round(SIDE / max(height, width)))
    gutter = 2 + zoom // 2 if gutter is None else gutter
    wrap = wrap or max(len(panels) for panels in rows.values())
    most = min(wrap, max(len(panels) for panels in rows.values()))
    step = width * zoom + gutter
    total = most * (across * step - gutter) + (most - 1) * GAP
    lines = []
    for label, panels in rows.items():
        beside = min(wrap, len(panels))
        each = ((total - (beside - 1) * GAP) // beside + gutter) // step
        tiled = [
            (name, tile(spread(images[: each * down], levels), each, zoom, gutter))
            for name, images in panels.items()
        ]
        for i in range(0, len(tiled), wrap):
            lines.append(_Line("" if i else label, dict(tiled[i : i + wrap])))
    with files.replacing(path) as file:
        _compose(lines, total, title, note).save(file, format="PNG")
    return pathlib.Path(path)


def reconstructions(
    data: np.ndarray,
    models: Mapping[str, np.ndarray],
    path: Path,
    *,
    across: int = 16,
    levels: int = 256,
    title: str = "reconstructions",
) -> pathlib.Path:
    """Draw data, decode(encode(data)) of each model, and their amplified difference.

    The amplification is one for all models, takes the largest difference to white,
    and is stated below.

    Args:
        data: uint8 images [n, height, width, channels].
        models: label to what each model made of them, of the same shape.
        path: where to write.
        across: images shown.
        levels: values are 0 to levels - 1.
        title: above the figure.

    Returns:
        The path.

    Raises:
        ValueError: as `draw`, or a model with other images than the data.
    """
    wrong = {k: v.shape for k, v in models.items() if v.shape != data.shape}
    if wrong:
        raise ValueError(
            f"reconstructions have the shapes {wrong}: expected {data.shape}, as data"
        )
    gaps = {
        label: np.abs(images[:across].astype(int) - data[:across].astype(int))
        for label, images in models.items()
    }
    largest = max((int(gap.max()) for gap in gaps.values()), default=0)
    scale = (levels - 1) / largest if largest else 1.0
    rows: dict[str, Mapping[str, np.ndarray]] = {"data": {"": data}}
    for label, images in models.items():
        rows[label] = {"": images}
        rows[f"{label}\n|difference|"] = {"": (gaps[label] * scale).astype(np.uint8)}
    note = "No pixel differs."
    if largest:
        off = ", ".join(
            f"{k} {100 * (gap > 0).mean():.3g} %" for k, gap in gaps.items()
        )
        note = (
            f"Differences are amplified {scale:.3g} times: the largest, {largest} of "
            f"{levels - 1} levels, is white. Values that differ: {off}."
        )
    return draw(
        rows, path, across=across, down=1, levels=levels, title=title, note=note
    )


def spread(images: np.ndarray, levels: int) -> np.ndarray:
    """Images of 0 to levels - 1 as uint8 over the whole grey scale."""
    if levels == 256:
        return images
    return np.rint(images * (255.0 / (levels - 1))).astype(np.uint8)


def tile(images: np.ndarray, across: int, zoom: int = 1, gutter: int = 2) -> np.ndarray:
    """One canvas [height, width, 3] of the images, line by line, each enlarged.

    Args:
        images: uint8 [n, height, width, 1 or 3].
        across: images in a line; missing ones of the last line are light grey.
        zoom: pixels a side that show one.
        gutter: white pixels between images.
    """
    from skimage import util

    large = images.repeat(zoom, axis=1).repeat(zoom, axis=2)
    n, height, width, _ = large.shape
    down = -(-n // across)
    whole = np.full((down * across, height, width, 3), EMPTY, np.uint8)
    whole[:n] = large
    canvas = util.montage(
        whole,
        fill=(255, 255, 255),
        grid_shape=(down, across),
        padding_width=gutter,
        channel_axis=-1,
    )
    # It has a gutter around all as well.
    height, width, _ = canvas.shape
    return canvas[gutter : height - gutter, gutter : width - gutter]


class _Line(NamedTuple):
    label: str
    panels: Mapping[str, np.ndarray]


def _shape(rows: Rows, levels: int) -> tuple[int, int, int]:
    found = {
        f"{label} {title}".strip(): images
        for label, panels in rows.items()
        for title, images in panels.items()
    }
    shapes = {name: images.shape for name, images in found.items()}
    kinds = {images.dtype for images in found.values()}
    events = {shape[1:] for shape in shapes.values()}
    whole = all(len(s) == 4 and s[0] and s[3] in (1, 3) for s in shapes.values())
    if len(events) != 1 or kinds != {np.dtype(np.uint8)} or not whole:
        raise ValueError(
            f"images have the shapes {shapes} and types {sorted(map(str, kinds))}: "
            "expected uint8 [n, height, width, 1 or 3], equal but for n"
        )
    for name, images in found.items():
        if images.max() >= levels:
            raise ValueError(
                f"{name} has the value {images.max()}: expected at most levels - 1 = "
                f"{levels - 1}"
            )
    return events.pop()


def _compose(lines: list[_Line], total: int, title: str, note: str):
    """The figure: title, lines of panels with their labels and titles, note."""
    from PIL import Image, ImageDraw

    normal, bold, large = _font(13), _font(13, bold=True), _font(16, bold=True)
    labels = [bold.getbbox(part)[2] for k in lines for part in k.label.split("\n")]
    left = MARGIN + math.ceil(max(labels)) + (GAP if max(labels) else 0)
    width = left + total + MARGIN
    placed = []  # (what, x, y) from the top; the height is known at the end.
    y = MARGIN
    for part in _wrap(title, large, width - 2 * MARGIN):
        placed.append((part, large, MARGIN, y))
        y += 22
    y += 6 if title else 0
    above: list[str] = []
    for line in lines:
        titles = list(line.panels)
        panels, x = [], left
        for name, canvas in line.panels.items():
            panels.append((canvas, x))
            if titles != above and name:
                placed.append((name, normal, x, y))
            x += canvas.shape[1] + GAP
        y += 20 if titles != above and any(titles) else 0
        above = titles
        tall = max(canvas.shape[0] for canvas, _ in panels)
        parts = line.label.split("\n")
        start = y + (tall - 17 * len(parts)) // 2
        for i, part in enumerate(parts):
            at = left - GAP - math.ceil(bold.getbbox(part)[2])
            placed.append((part, bold, at, start + 17 * i))
        placed += [(canvas, None, x, y) for canvas, x in panels]
        y += tall + GAP
    for part in _wrap(note, normal, width - 2 * MARGIN):
        placed.append((part, normal, MARGIN, y - 4))
        y += 18
    figure = Image.new("RGB", (width, y + MARGIN - (0 if note else GAP)), PAPER)
    pen = ImageDraw.Draw(figure)
    for what, font, x, y in placed:
        if isinstance(what, str):
            pen.text((x, y), what, fill=INK, font=font)
        else:
            figure.paste(Image.fromarray(what), (x, y))
    return figure


def _wrap(text: str, font: "FreeTypeFont", width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _font(size: int, *, bold: bool = False) -> "FreeTypeFont":
    """The face of the other figures, which comes with matplotlib."""
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    faces = pathlib.Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(faces / name), size)
