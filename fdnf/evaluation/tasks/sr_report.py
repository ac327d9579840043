"""Scores, tables and pictures of a study of super-resolution."""

import logging
import pathlib
from collections.abc import Mapping
from typing import Any

from fdnf import files
from fdnf.data.super_resolution import Pairs
from fdnf.evaluation.core import sr_records
from fdnf.evaluation.core.sr_records import BICUBIC, Record
from fdnf.evaluation.models import upscaler as upscalers
from fdnf.evaluation.pictures import strips
from fdnf.evaluation.scorers import sr_judge, sr_scores
from fdnf.evaluation.tables import sr_cells, sr_summary, sr_table
from fdnf.train import process
from fdnf.train.settings import ConfigError
from fdnf.train.teachers import Trained

RESULTS, FIGURES = "results", "figures"
TABLE, LATEX, SUMMARY = "table.md", "table.tex", "summary.json"

_log = logging.getLogger(__name__)


def report(
    workdir: str | pathlib.Path,
    trained: Mapping[str, Trained],
    data: Pairs,
    evaluation: Any,
) -> str:
    """Scores all runs of all models; writes records, tables and pictures.

    Args:
        workdir: gets `table.md`, `table.tex`, `results/summary.json`,
            `results/<method>/seed_<n>/super_resolution.json` and `figures/`.
        trained: the models: "pretrained", if there is one, "teacher", students by
            name. Bicubic enlargement goes before them.
        data: whose test images are enlarged.
        evaluation: the `eval` section: `temperature`, `images`, `samples`,
            `sample_crop`, `lpips`, `weights`, `strips` and `time_repeats`.

    Returns:
        The tables as Markdown.

    Raises:
        ConfigError: settings out of range, weights that are not those asked for, or a
            model of another scale or by the name of the baseline.
    """
    folder = pathlib.Path(workdir)
    if BICUBIC in trained:
        raise ConfigError(f"{BICUBIC!r} is the baseline's name: call the student else")
    settings = sr_scores.settings_of(evaluation)
    judge = sr_judge.of(evaluation)
    records: list[Record] = []
    for method, model in ((BICUBIC, None), *trained.items()):
        _log.info("evaluating %s", method)
        if model is None:
            found = [sr_scores.bicubic(data, judge, settings)]
        else:
            found = sr_scores.evaluate(model, data, method, judge, settings)
        for record in found:
            path = sr_records.path_of(record, folder / RESULTS)
            files.write_text(path, record.to_json())
        records += found
        process.release_programs()
    short = [summary.to_plain() for summary in sr_summary.summaries(records)]
    files.write_json(folder / RESULTS / SUMMARY, short, indent=1)
    text = sr_table.page(records)
    files.write_text(folder / LATEX, sr_table.latex(records))
    models = {sr_cells.label(m): upscalers.of(model) for m, model in trained.items()}
    strips.draw(
        folder / FIGURES,
        models,
        data,
        strips=evaluation.strips,
        temperature=settings.temperature,
    )
    # Last: that it is there says that all is.
    files.write_text(folder / TABLE, text)
    return text
