"""Checkpoints come back bit for bit; broken ones are passed over, aloud."""

import functools
import logging
import resource
import shutil

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from fdnf.flows.glow import TabularGlow
from fdnf.ops import trees
from fdnf.train import checkpoint, optim, step, validation, workdirs

RUNS = 2


@functools.cache
def _trees(seed=0, ema=True, width=3):
    """A state after one real and one skipped step, and a best record."""
    config = ml_collections.ConfigDict(
        {
            "name": "adamw",
            "lr": 0.1,
            "weight_decay": 0.01,
            "b1": 0.9,
            "b2": 0.999,
            "eps": 1e-8,
            "schedule": "cosine",
            "warmup": 2,
            "final": 0.0,
            "clip": 1.0,
        }
    )
    rng = np.random.default_rng(seed)
    params = {
        "layer": {
            "kernel": jnp.asarray(rng.normal(size=(RUNS, 4, width)), jnp.float32),
            "bias": jnp.asarray(rng.normal(size=(RUNS, width)), jnp.bfloat16),
        },
        "nothing": jnp.zeros((RUNS, 0)),
    }
    transform = optim.make(config, 100)
    opt_state = jax.vmap(transform.init)(params)
    for grads in (params, jax.tree.map(lambda p: p.at[0].set(jnp.nan), params)):
        _, opt_state = jax.vmap(transform.update)(grads, opt_state, params)
    trained = step.TrainState(
        step=jnp.asarray(7 + seed, jnp.int32),
        params=params,
        ema=optim.ema_init(params, 0.9) if ema else None,
        constants={},
        opt_state=opt_state,
    )
    best = validation.first_best(params, {"sign": jnp.array([[1.0], [-1.0]])}, RUNS)
    return trained, best


def _assert_same(restored, saved):
    assert jax.tree.structure(restored) == jax.tree.structure(saved)
    for new, old in zip(jax.tree.leaves(restored), jax.tree.leaves(saved), strict=True):
        assert isinstance(new, np.ndarray)
        assert (new.dtype, new.shape) == (old.dtype, old.shape)
        assert new.tobytes() == np.asarray(old).tobytes()


def _save(workdir, steps, keep=3):
    with checkpoint.Checkpointer(workdir, keep) as checkpointer:
        for step in steps:
            trained, best = _trees(step)
            checkpointer.save(step, trained, best, {"position": step})
    return workdir / "checkpoints"


def _restore(workdir):
    trained, best = _trees()
    shapes = jax.eval_shape(lambda: (trained, best))
    with checkpoint.Checkpointer(workdir) as checkpointer:
        return checkpointer.restore(*shapes)


def _largest(directory):
    files = [path for path in directory.rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


def _truncate(path):
    file = _largest(path / "state")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _delete_manifest(path):
    (path / "state" / "manifest.ocdbt").unlink()


def _flip_bytes(path):
    file = _largest(path / "state")
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 8] = bytes(255 - b for b in data[middle : middle + 8])
    file.write_bytes(bytes(data))


def _edit_meta(path):
    (file,) = (f for f in (path / "meta").iterdir() if "position" in f.read_text())
    text = file.read_text()
    assert '"position": 30' in text
    file.write_text(text.replace('"position": 30', '"position": 31'))


def _swap_best(path):
    shutil.rmtree(path / "best")
    shutil.copytree(path.parent / "20" / "best", path / "best")


def _empty(path):
    shutil.rmtree(path)
    path.mkdir()


@pytest.mark.parametrize("ema", [True, False])
def test_everything_comes_back_bit_for_bit(tmp_path, ema):
    trained, best = _trees(ema=ema)
    config = {"model": {"args": {"hidden": (32, 32), "name": "maf"}}, "lr": 1e-3}
    meta = {"config": config, "position": {"epoch": 3, "order": [2, 1]}}
    with checkpoint.Checkpointer(tmp_path) as checkpointer:
        assert checkpointer.restore(trained, best) is None
        assert checkpointer.save(7, trained, best, meta)
        assert not checkpointer.save(7, trained, best, meta)
    with checkpoint.Checkpointer(tmp_path) as checkpointer:
        found = checkpointer.restore(*jax.eval_shape(lambda: (trained, best)))
        assert found is not None
        step, new_state, new_best, new_meta = found
        assert not checkpointer.save(7, new_state, new_best, meta)
    assert step == 7
    _assert_same(new_state, trained)
    _assert_same(new_best, best)
    assert new_meta["config"] == config
    assert new_meta["position"] == meta["position"]
    assert new_meta["versions"]["jax"] == jax.__version__
    np.testing.assert_array_equal(optim.bad_steps(new_state.opt_state)[1], [1, 0])


def test_saving_takes_a_copy(tmp_path):
    trained, best = _trees.__wrapped__()
    expected = jax.tree.map(np.array, trained)
    overwrite = jax.jit(lambda t: jax.tree.map(lambda a: a * 0, t), donate_argnums=0)
    with checkpoint.Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(7, trained, best, {})
        jax.block_until_ready(overwrite(trained))
    assert trained.params["layer"]["kernel"].is_deleted()
    found = _restore(tmp_path)
    assert found is not None
    _assert_same(found[1], expected)


def test_host_arrays_are_copied_too(tmp_path):
    tree = {"a": np.ones((RUNS, 100_000))}
    with checkpoint.Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, tree, tree, {})
        tree["a"][:] = 2.0
        checkpointer.wait()
        found = checkpointer.restore(tree, tree)
    assert found is not None
    np.testing.assert_array_equal(found[1]["a"], 1.0)


def test_the_newest_are_kept(tmp_path):
    directory = _save(tmp_path, (10, 20, 30, 40), keep=2)
    assert sorted(p.name for p in directory.iterdir() if p.name.isdigit()) == [
        "30",
        "40",
    ]


@pytest.mark.parametrize(
    "damage",
    [_truncate, _delete_manifest, _flip_bytes, _edit_meta, _swap_best, _empty],
)
def test_broken_newest_falls_back_and_says_so(tmp_path, caplog, damage):
    directory = _save(tmp_path, (10, 20, 30))
    damage(directory / "30")
    with caplog.at_level(logging.WARNING):
        found = _restore(tmp_path)
    assert found is not None
    step, restored, _, meta = found
    assert (step, meta["position"]) == (20, 20)
    _assert_same(restored, _trees(20)[0])
    # Orbax reads in tasks of its own, whose late failures asyncio logs, path and all.
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("fdnf.")]
    (message,) = (said for said in ours if "broken" in said)
    assert str(directory / "30") in message
    assert "using step 20" in message
    assert (directory / "30.broken-1").is_dir()
    # The step is free again.
    _save(tmp_path, (30,))
    found = _restore(tmp_path)
    assert found is not None
    assert found[0] == 30


def test_broken_twice_and_found_by_the_saving_process(tmp_path):
    trained, best = _trees()
    with checkpoint.Checkpointer(tmp_path) as checkpointer:
        for step in (10, 20):
            checkpointer.save(step, trained, best, {})
        for attempt in (1, 2):
            checkpointer.wait()
            _truncate(checkpointer.directory / "20")
            found = checkpointer.restore(trained, best)
            assert found is not None
            assert found[0] == 10
            assert (checkpointer.directory / f"20.broken-{attempt}").is_dir()
            assert checkpointer.save(20, trained, best, {})


def test_none_readable_names_them_and_moves_nothing(tmp_path):
    directory = _save(tmp_path, (10, 20))
    _truncate(directory / "10")
    _empty(directory / "20")
    with pytest.raises(checkpoint.CheckpointError) as caught:
        _restore(tmp_path)
    assert str(directory / "10") in str(caught.value)
    assert str(directory / "20") in str(caught.value)
    assert (directory / "10").is_dir()
    assert (directory / "20").is_dir()


def test_other_model_is_an_error_and_not_a_broken_checkpoint(tmp_path):
    directory = _save(tmp_path, (10,))
    with (
        checkpoint.Checkpointer(tmp_path) as checkpointer,
        pytest.raises(checkpoint.CheckpointError, match="another configuration") as e,
    ):
        checkpointer.restore(*_trees(width=5))
    assert "layer/bias is bfloat16[2, 3], expected bfloat16[2, 5]" in str(e.value)
    assert (directory / "10").is_dir()


def test_best_is_picked_run_by_run_and_survives(tmp_path):
    params = {"w": jnp.array([[1.0], [2.0]])}
    best = validation.first_best(params, {}, RUNS)
    update = jax.jit(validation.update_best)
    best = update(best, {"w": jnp.array([[3.0], [4.0]])}, {}, jnp.array([5.0, 5.0]), 1)
    best = update(
        best, {"w": jnp.array([[6.0], [7.0]])}, {}, jnp.array([4.0, jnp.nan]), 2
    )
    np.testing.assert_array_equal(best.params["w"], [[6.0], [4.0]])
    np.testing.assert_array_equal(best.value, [4.0, 5.0])
    np.testing.assert_array_equal(best.step, [2, 1])
    with checkpoint.Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(3, {"any": jnp.zeros(2)}, best, {"config": {"k": [1, 2]}})
    loaded, constants, meta = checkpoint.load_best(tmp_path)
    assert loaded.keys() == {"w"}
    assert loaded["w"].tobytes() == np.asarray(best.params["w"]).tobytes()
    assert constants == {}
    assert meta["best"] == {"value": [4.0, 5.0], "step": [2, 1]}
    assert meta["config"] == {"k": (1, 2)}
    assert meta["step"] == 3


def test_load_best_needs_no_template_and_passes_over_broken(tmp_path, caplog):
    directory = _save(tmp_path, (10, 20))
    trained, best = _trees(20)
    params, constants, _ = checkpoint.load_best(tmp_path)
    _assert_same(params, trained.params)
    _assert_same(constants, best.constants)
    (directory / "20" / "best" / "manifest.ocdbt").unlink()
    params, _, _ = checkpoint.load_best(str(tmp_path))
    _assert_same(params, _trees(10)[0].params)
    assert "using step 10" in caplog.text
    assert (directory / "20").is_dir()


def test_permutations_and_signs_that_were_floats_are_read_as_booleans(tmp_path):
    """As the first checkpoints have them: for a teacher and for a run that goes on."""
    flow = TabularGlow(steps=2, hidden=4, depth=1, plu=True)
    x = jax.random.normal(jax.random.key(0), (8, 3))
    params, constants = trees.split_variables(jax.jit(flow.init)(jax.random.key(1), x))
    stacked = jax.tree.map(lambda leaf: leaf[None], (params, constants))
    drawn = stacked[1]["stack"]["step"]["parts_1"]
    older = {
        "permutation": drawn["permutation"].astype(jnp.float32),
        "sign": jnp.where(drawn["sign"], 1.0, -1.0),
    }
    floats = {"stack": {"step": {"parts_1": older}}}
    with checkpoint.Checkpointer(tmp_path) as checkpointer:
        best = validation.first_best(stacked[0], floats, 1)
        checkpointer.save(3, {"constants": floats}, best, {})
    read_params, read, _ = checkpoint.load_best(tmp_path)
    _assert_same(read, stacked[1])
    variables = jax.tree.map(
        lambda leaf: leaf[0], {"params": read_params, "constants": read}
    )
    log_prob = jax.jit(functools.partial(flow.apply, method="log_prob"))
    np.testing.assert_array_equal(
        log_prob(variables, x),
        log_prob({"params": params, "constants": constants}, x),
    )
    template = validation.first_best(*stacked, 1)
    with checkpoint.Checkpointer(tmp_path) as checkpointer:
        _, resumed, best, _ = checkpointer.restore({"constants": stacked[1]}, template)
    _assert_same(resumed["constants"], stacked[1])
    _assert_same(best.constants, stacked[1])


def test_load_best_says_what_is_missing(tmp_path):
    with pytest.raises(checkpoint.CheckpointError, match="absent does not exist"):
        checkpoint.load_best(tmp_path / "absent")
    with pytest.raises(checkpoint.CheckpointError, match="no checkpoint.*train it"):
        checkpoint.load_best(tmp_path)


def test_unwritable_workdir_is_found_before_training(tmp_path):
    workdirs.check_writable(tmp_path / "new" / "one")
    assert list((tmp_path / "new" / "one").iterdir()) == []
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run", "/proc/run"):
        with pytest.raises(checkpoint.CheckpointError, match=f"{path} cannot be"):
            workdirs.check_writable(path)


def test_save_where_nothing_can_be_written(tmp_path):
    (tmp_path / "checkpoints").write_text("in the way")
    trained, best = _trees()
    with (
        checkpoint.Checkpointer(tmp_path) as checkpointer,
        pytest.raises(checkpoint.CheckpointError, match="checkpoints failed.*is none"),
    ):
        checkpointer.save(1, trained, best, {})


def test_full_disk_names_the_last_good_checkpoint(tmp_path):
    directory = _save(tmp_path, (10,))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores the signal of this limit, so that a write beyond it fails as
    # one on a full disk does.
    rng = np.random.default_rng(0)
    big = {"a": rng.normal(size=(2, 300_000))}
    checkpointer = checkpoint.Checkpointer(tmp_path)

    def save():
        checkpointer.save(20, big, big, {})
        checkpointer.wait()

    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(checkpoint.CheckpointError) as caught:
            save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"last good checkpoint is {directory / '10'}" in str(caught.value)
    found = _restore(tmp_path)
    assert found is not None
    assert found[0] == 10


def test_meta_must_be_json_and_keep_positive(tmp_path):
    with (
        checkpoint.Checkpointer(tmp_path) as checkpointer,
        pytest.raises(TypeError, match="JSON"),
    ):
        checkpointer.save(1, {}, {}, {"config": object()})
    with pytest.raises(ValueError, match="keep=0"):
        checkpoint.Checkpointer(tmp_path, keep=0)


# What shells, URLs and file systems make something of, and orbax does not.
NAMES = ("a b'c\"d", "ü数", "a%20b#c:d", "{a,b}", "$HOME;&|", "~x", "-a", "x" * 200)


@pytest.mark.parametrize("name", NAMES)
def test_a_workdir_of_this_name_is_read_back(name, tmp_path):
    workdir = tmp_path / name
    _save(workdir, [1])
    assert _restore(workdir)[0] == 1
    assert checkpoint.load_best(workdir)[2]["position"] == 1


@pytest.mark.parametrize(
    "name",
    ["[a]", "a*b", "a?b", "a\\b", "a\nb", "a\x1b", "a\udcff", "[a]/b", "gs://a/b"],
)
def test_a_workdir_that_could_not_be_read_back_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for does in (
        workdirs.check_writable,
        checkpoint.Checkpointer,
        checkpoint.load_best,
    ):
        with pytest.raises(checkpoint.CheckpointError, match="workdir .*(:|choose) "):
            does(name)
    assert not list(tmp_path.iterdir())


def test_the_directory_above_may_be_the_one(tmp_path, monkeypatch):
    (tmp_path / "[a]").mkdir()
    monkeypatch.chdir(tmp_path / "[a]")
    with pytest.raises(checkpoint.CheckpointError, match="or move to a directory of"):
        workdirs.check_writable("run")
