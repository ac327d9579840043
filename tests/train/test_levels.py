"""Students taught by levels: heads that are dropped, layers and means of teachers."""

import jax
import numpy as np
import pytest

from fdnf.data.tabular import DataError
from fdnf.flows import surgery
from fdnf.losses import levels
from fdnf.ops import trees
from fdnf.train import checkpoint, loop, models, program, stored, teachers
from fdnf.train.preprocess import Preprocess
from fdnf.train.rules import ConfigError
from fdnf.train.settings import Experiment
from fdnf.train.writers import read_log
from tests import floats, tiny


def config(method="ilkd", **teacher):
    built = tiny.config(method)
    built.teacher.update(teacher)
    return built


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """Two teachers, unlike each other."""
    place = tmp_path_factory.mktemp("teacher")
    tiny.stored(tiny.config().copy_and_resolve_references(), place, runs=2)
    return place


def built(config, teacher, where):
    config.teacher.workdir = str(teacher)
    config.teacher.config = None
    return program.build([Experiment(config, where, teacher=teacher)])


def headed(teacher, **loss):
    built = config(workdir=str(teacher))
    built.teacher.config = None
    built.loss.update(loss)
    built.loss.args.weights = (1.0, 1.0, 0.0)
    built.optim.ema = 0.9
    return built


def test_heads_are_trained_and_dropped_and_a_killed_run_goes_on(tmp_path):
    teacher = tiny.stored(tiny.config(), tmp_path / "teacher")
    both = {"heads": True, "normalise": True}
    loop.train_and_evaluate(headed(teacher, **both), tmp_path / "whole")
    assert set(checkpoint.load_best(tmp_path / "whole")[0]) == {"stack"}
    folder = tmp_path / "whole" / checkpoint.SUBDIRECTORY
    before, after = (
        {name: leaf for name, leaf in state.items() if levels.HEADS in name}
        for state in (stored.one(folder, n, ("state",))[0]["state"] for n in (6, 12))
    )
    assert before.keys() == after.keys() != set()
    assert not all(np.array_equal(before[name], after[name]) for name in before)
    tiny.undone(tmp_path / "whole", tmp_path / "killed", 6)
    loop.train_and_evaluate(headed(teacher, **both), tmp_path / "killed")
    tiny.same_rows(read_log(tmp_path / "killed"), read_log(tmp_path / "whole"))


def test_units_are_those_of_the_first_batch(taught, tmp_path):
    measured = config("lkd", mean=True)
    measured.loss.normalise = True
    made = built(measured, taught, tmp_path)
    (head,) = made.state.params[levels.HEADS].values()
    assert set(head) == {"spread"}
    (first,) = program.first_batches(made.data, Preprocess(), 64, [0])["x"]
    trained = teachers.load(taught)
    encode = jax.jit(lambda *given: trained.flow.apply(*given).z[0])
    each = [encode(trees.take_run(trained.variables, r), first) for r in range(2)]
    expected = np.std(np.mean(each, axis=0), axis=0)
    floats.assert_close(head["spread"][0], expected, rtol=1e-4)
    assert levels.HEADS not in made.state.evaluated
    assert levels.HEADS not in made.best.params


def test_a_student_starts_with_layers_of_its_teacher(taught, tmp_path):
    heir = config(inherit_layers=True)
    heir.runs = 2
    made = built(heir, taught, tmp_path)
    trained = teachers.load(taught)
    for r in range(2):
        expected = surgery.thinned(
            trained.flow, trees.take_run(trained.variables, r), 1
        )
        found = jax.tree.map(lambda leaf, r=r: leaf[r], made.state.params)
        jax.tree.map(np.testing.assert_array_equal, found, expected[1]["params"])
    other = config(inherit_layers=True)
    other.model.args.hidden = (5,)
    other.runs = 2
    with pytest.raises(ConfigError, match="same model.args but for steps"):
        built(other, taught, tmp_path)
    other.model.name, other.model.args = "nice", {"hidden": (4,), "steps": 4}
    other.loss.method = "lkd"
    with pytest.raises(ConfigError, match=r"4 steps of the 2 of a MAF"):
        built(other, taught, tmp_path)


def test_a_start_from_layers_need_not_come_out_standardised(
    taught, tmp_path, monkeypatch
):
    monkeypatch.setattr(models, "SPREADS", (1.5, 2.0))
    for inherits in (True, False):
        heir = config(inherit_layers=inherits)
        heir.runs = 2
        if inherits:
            assert built(heir, taught, tmp_path).state.params
        else:
            with pytest.raises(DataError, match="not standardised"):
                built(heir, taught, tmp_path)


def test_the_mean_of_teachers_teaches_every_run(taught, tmp_path):
    mean = config(mean=True)
    made = built(mean, taught, tmp_path)
    state, scalars = made.take(made.state, np.zeros(2, np.int32))
    assert np.isfinite(scalars["ilkd"]).all()
    assert int(state.step) == 3


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"loss.method": "skd"}, "mean of teachers can only be asked to encode"),
        ({"teacher.samples": 10}, "teacher.samples=10"),
        ({"runs": 1, "teacher.mean": False}, "the teacher has 2 runs"),
    ],
)
def test_what_a_mean_cannot_do_is_refused(taught, tmp_path, changes, match):
    mean = config("skd" if changes.get("loss.method") == "skd" else "ilkd", mean=True)
    mean.update_from_flattened_dict(changes)
    with pytest.raises(ConfigError, match=match):
        built(mean, taught, tmp_path)


def test_a_mean_of_one_is_refused(tmp_path):
    place = tiny.stored(tiny.config(), tmp_path / "one")
    with pytest.raises(ConfigError, match="has one run"):
        built(config(mean=True), place, tmp_path)
