"""A SLURM for the tests that need one, and the directory and file of a small sweep."""

import pytest

from tests.launch import cluster, harness


@pytest.fixture(scope="module")
def shared_slurm():
    """A running SLURM of two nodes; the test is skipped where there can be none."""
    try:
        with cluster.running() as found:
            yield found
    except cluster.NoSlurmError as error:
        pytest.skip(str(error))


@pytest.fixture
def slurm(shared_slurm):
    """The same with an empty queue, whatever the test before left there."""
    shared_slurm.empty()
    return shared_slurm


@pytest.fixture
def sweep(tmp_path):
    return harness.write_sweep(tmp_path)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"
