"""Tables of results that the study wrote in its former format."""

import pathlib

from fdnf.evaluation.core import stored
from fdnf.evaluation.tables import view
from fdnf.evaluation.tasks import gaussian

STORED = pathlib.Path(__file__).parents[2] / "evaluation/core/stored/gaussian"


def test_the_figures_of_a_former_format():
    """As the study printed them then; two losses, T = 2 and 3, three seeds."""
    results = stored.read(STORED)
    samples, distances, pairs = view.page(gaussian.VIEWS, results)
    first = samples.texts()
    assert [row[0] for row in first] == ["2", "2", "3", "3"]
    assert first[3][6:] == ["-5.14 ± 15.69", "-4.94 ± 14.64", "0 of 3", "0.613 ± 0.851"]
    assert first[3][2].startswith("-3.4 ")
    assert first[3][4].startswith("-8.6 ")
    assert [row[2:] for row in distances.texts()][2:] == [
        ["3.2 (1.1 to 12)", "3.1 (1.2 to 11)", "-0.06 ± 0.49", "7.8 (3.4 to 13)"],
        ["5.9 (5.4 to 13)", "277 (74 to 9,881)", "-3.13 ± 4.38", "7.8 (3.4 to 13)"],
    ]
    assert [row[2:] for row in pairs.texts()] == [
        ["+0.25 ± 0.47", "-0.73 ± 2.15", "+0.52 ± 1.32"],
        ["+0.51 ± 0.18 *", "-3.07 ± 4.06", "+2.58 ± 4.38"],
    ]
