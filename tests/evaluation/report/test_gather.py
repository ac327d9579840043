"""Directories of sweeps and studies, made by hand."""

import pathlib
import shutil

import pytest

from fdnf.evaluation.core import scores
from fdnf.evaluation.core.scores import Result, Run, Score
from fdnf.evaluation.report import gather
from tests.evaluation.report import made
from tests.evaluation.report.made import put

STORED = pathlib.Path(__file__).parents[1] / "core" / "stored"


def entry(name, **changes):
    fields = {"name": name, "workdir": name, "config": "configs/maf_bsds300.py:teacher"}
    return {**fields, "overrides": {"seed": 1}, "after": [], **changes}


def read(root):
    problems = []
    return gather.read_sweep(root, problems), problems


def test_points_of_a_sweep(tmp_path):
    points = [entry("a"), entry("b/c", after=["a"])]
    whole = {"sweep": "t1", "arguments": {"n": 2}, "created_by": "go"}
    put(tmp_path / "sweep.json", {**whole, "points": points})
    put(tmp_path / "b/c/point.json", {**points[1], "command": "python -m fdnf.main"})
    sweep, problems = read(tmp_path)
    assert problems == []
    assert (sweep.name, sweep.command, sweep.arguments) == ("t1", "go", {"n": 2})
    assert [point.name for point in sweep.points] == ["a", "b/c"]
    second = sweep.points[1]
    assert second.folder == tmp_path / "b/c"
    assert second.command == "python -m fdnf.main"


def test_points_without_a_sweep(tmp_path):
    put(tmp_path / "x/point.json", entry("x"))
    # Checkpoints hold many files and no points.
    put(tmp_path / "x/checkpoints/1/point.json", entry("y"))
    sweep, problems = read(tmp_path)
    assert [point.name for point in sweep.points] == ["x"]
    assert sweep.name == tmp_path.name
    assert problems == []


@pytest.mark.parametrize(
    ("text", "said"),
    [('{"sweep": "t', "cannot be read"), ("[1]", "expected one JSON dict, got list")],
)
def test_a_broken_sweep_is_named_and_its_points_found(tmp_path, text, said):
    put(tmp_path / "sweep.json", text)
    put(tmp_path / "x/point.json", entry("x"))
    sweep, problems = read(tmp_path)
    assert [point.name for point in sweep.points] == ["x"]
    assert len(problems) == 1
    assert problems[0].startswith("sweep.json: ")
    assert said in problems[0]


def test_entries_of_another_form_are_named(tmp_path):
    put(tmp_path / "sweep.json", {"points": [{"workdir": "a"}, entry("b")]})
    sweep, problems = read(tmp_path)
    assert [point.name for point in sweep.points] == ["b"]
    assert problems == ["a: a point without a name"]


def test_states_are_those_that_launch_saw_last(tmp_path):
    sweep = made.small(tmp_path, ilkd0="failed", ilkd1="waiting", student0="preempted")
    states = gather.gather(sweep.root).states
    kinds = {name.partition("-")[2]: state.kind for name, state in states.items()}
    assert kinds == {
        **{"teacher/seed=0": "done", "teacher/seed=1": "done"},
        **{"student/seed=0": "preempted", "student/seed=1": "done"},
        **{"ilkd/seed=0": "failed", "ilkd/seed=1": "waiting"},
    }
    # What was done since is done; of what nobody has looked at nothing is known.
    (tmp_path / "states.json").unlink()
    states = gather.gather(sweep.root).states
    assert [state.kind for state in states.values()].count("done") == 3
    assert states["bsds300-ilkd/seed=0"].kind == "unknown"
    put(tmp_path / "states.json", "[")
    assert gather.gather(sweep.root).problems[0].startswith("states.json: cannot be")


def test_results_of_what_is_not_trained_to_the_end_are_not_all(tmp_path):
    sweep = made.small(tmp_path)
    (tmp_path / "bsds300-ilkd/seed=1/finished.json").unlink()
    sweep.states[-1] |= {"state": "failed", "detail": "gone"}
    sweep.write()
    states = gather.gather(tmp_path).states
    assert states["bsds300-ilkd/seed=1"] == ("failed", "gone")


def test_overrides_are_settings(tmp_path):
    sweep = made.Sweep(tmp_path)
    sweep.point("ilkd", 3, loss_weight=0.5, model_widths=[1, 2])
    (run,) = gather.gather(sweep.write()).runs
    assert run.run.settings == {"loss.weight": 0.5, "model.widths": (1, 2)}
    assert (run.run.seed, run.index) == (3, 0)


def test_a_study_has_a_folder_for_each_method(tmp_path):
    for method in ("teacher", "student"):
        for seed in (3, 4):
            scores.write(made.result(method, seed), tmp_path / "results")
        put(tmp_path / method / "config.json", {"seed": 3, "runs": 2})
    found = gather.gather(tmp_path)
    assert {(run.folder.name, run.index) for run in found.runs} == {
        *(("teacher", 0), ("teacher", 1), ("student", 0), ("student", 1))
    }


def test_a_point_that_was_begun_is_a_run_without_scores(tmp_path):
    sweep = made.small(tmp_path, ilkd1="failed", student1="waiting")
    *done, begun = gather.gather(sweep.root).runs
    assert all(run.scores is not None for run in done)
    assert begun.scores is None
    assert begun.run[:3] == ("bsds300", "ilkd", 1)


def test_runs_that_only_their_point_tells_apart(tmp_path):
    sweep = made.Sweep(tmp_path)
    for name, config in (("a", "maf.py"), ("b", "maf.py:wide")):
        put(tmp_path / name / "point.json", entry(name, config=config))
        scores.write(made.result("ilkd", 0), tmp_path / name / "results")
        sweep.points.append(entry(name, config=config))
    found = gather.gather(sweep.write())
    configs = [run.run.settings["config"] for run in found.runs]
    assert configs == ["maf.py", "maf.py:wide"]
    # The same config twice.
    sweep.points[1]["config"] = "maf.py"
    found = gather.gather(sweep.write())
    assert [run.run.settings["point"] for run in found.runs] == ["a", "b"]


def test_twice_the_same_without_a_sweep_is_refused(tmp_path):
    for name in ("a", "b"):
        text = scores.to_json(made.result("student", 0))
        put(tmp_path / name / "result.json", text)
    with pytest.raises(ValueError, match="a and b both hold MAF bsds300 student seed"):
        gather.gather(tmp_path)


def test_baselines_of_several_points_are_one(tmp_path):
    sweep = made.small(tmp_path)
    real = Run("bsds300", "real", kind="vectors")
    for seed in (0, 1):
        given = [Score("energy_distance", 1.5, "test"), Score(f"own_{seed}", 1.0)]
        folder = tmp_path / f"bsds300-ilkd/seed={seed}" / "results"
        scores.write(Result(real, tuple(given)), folder)
    found = gather.gather(sweep.root)
    (baseline,) = found.baselines
    assert [s.metric for s in baseline.scores] == ["energy_distance", "own_0", "own_1"]
    assert len(found.results()) == 7


def test_what_a_former_file_tells_beside_is_of_the_same_run(tmp_path):
    shutil.copytree(STORED / "transfer", tmp_path / "transfer")
    for method in ("teacher", "kl"):
        of = made.result(method, 0)
        run = of.run._replace(data="synthetic")
        scores.write(of._replace(run=run), tmp_path / "results")
    found = gather.gather(tmp_path)
    runs = {run.run.method: run for run in found.runs if run.run.seed == 0}
    assert len([run for run in found.runs if run.run.seed == 0]) == 2
    assert runs["kl"].run.arch == "MAF"
    assert runs["kl"].folder == tmp_path
    metrics = {score.metric for score in runs["kl"].scores}
    assert {"log_likelihood", "reverse_kl"} <= metrics


def test_results_of_other_data_and_in_checkpoints_are_not_the_runs(tmp_path):
    scores.write(made.result("student", 0), tmp_path / "results")
    for name in ("other_data/x", "checkpoints"):
        scores.write(made.result("student", 0), tmp_path / name / "results")
    assert len(gather.gather(tmp_path).runs) == 1


def test_nothing_to_report(tmp_path):
    with pytest.raises(FileNotFoundError, match="no result.json under"):
        gather.gather(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a directory"):
        gather.gather(tmp_path / "absent")
