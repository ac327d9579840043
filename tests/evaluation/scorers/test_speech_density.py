"""Densities of windows of sound, put together clip by clip."""

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.evaluation.scorers import speech, speech_density
from fdnf.evaluation.scorers.context import Context, Evaluation
from fdnf.train import teachers
from tests import floats
from tests.evaluation import speech_models


def test_density_a_sample(monkeypatch):
    """By windows of 512, of which clips have 3, 4 and none."""
    judged = speech_models.judged()
    tiny = judged.clips[0][:100]
    judged = judged._replace(
        names=("a", "b", "tiny"), clips=(judged.clips[0], judged.clips[1], tiny)
    )
    expected = np.concatenate([c.reshape(-1, 512) for c in judged.clips[:2]])

    def make_log_prob(flow, batch_size, preprocess):
        def log_prob(params, constants, rows):
            np.testing.assert_array_equal(rows, expected)
            return 512 * np.array([[1, 2, 3, 4, 4, 4, 8], [0, 0, 3, 1, 1, 1, 1]])

        return log_prob

    monkeypatch.setattr(speech_density.validation, "make_log_prob", make_log_prob)
    found = speech_density.nll(speech_models.teacher(runs=2), judged)
    np.testing.assert_array_equal(found, [[-2, -5, np.nan], [-1, -1, np.nan]])
    short = judged._replace(names=("tiny",), clips=(tiny,))
    found = speech_density.nll(speech_models.teacher(runs=2), short)
    np.testing.assert_array_equal(found, [[np.nan], [np.nan]])
    assert speech_density.nll(speech_models.student(), judged) is None


def test_divergence_is_that_of_the_sound_which_a_student_makes():
    teacher, student = speech_models.parallel()
    data, section = speech_models.data(), student.config.eval
    models = {"teacher": teacher, "clarinet": student}
    whole = Evaluation(data, section, models)
    found = [*speech_density.divergence(Context(whole, "clarinet", 0))]
    judged = speech.judged_of(whole)
    assert [(s.metric, s.item) for s in found] == [
        ("reverse_kl_second", name) for name in judged.names
    ]
    # The first clip anew, by the density of what was drawn.
    segment, mine = data.dim, judged.clips[0]
    rows, counts = speech_density._windows(judged, segment)
    assert counts[0] == len(mine) // segment
    batch = jnp.asarray(rows[: section.batch_size])
    shape, log_mel = (len(batch), segment, 1), student.preprocess.condition(batch)
    key = jax.random.fold_in(jax.random.key(speech.SEED), 0)
    ours, theirs = (teachers.run_of(each, 0)[1] for each in (student, teacher))

    @jax.jit
    def ratio(ours, theirs, log_mel):
        apply = student.flow.apply
        z = apply(ours, key, shape, 1.0, method="draw")
        x = apply(ours, z, log_mel, method="decode").x
        log_q = apply(ours, x, log_mel, method="log_prob")
        return log_q - teacher.flow.apply(theirs, x, log_mel, method="log_prob")

    nats = np.asarray(ratio(ours, theirs, log_mel))[: counts[0]].mean()
    floats.assert_close(found[0].value, nats * judged.rate / segment, rtol=1e-3)
    # A parallel sampler's own density is slow, and not taken; a teacher has no teacher.
    assert speech_density.nll(student, judged) is None
    assert not [*speech_density.divergence(Context(whole, "teacher", 0))]
    alone = Evaluation(data, section, {"clarinet": student})
    assert not [*speech_density.divergence(Context(alone, "clarinet", 0))]
    # Nor has a network that no density goes through.
    free = speech_models.student()._replace(config=student.config)
    mixed = Evaluation(data, section, {"teacher": teacher, "clarinet": free})
    assert not [*speech_density.divergence(Context(mixed, "clarinet", 0))]
