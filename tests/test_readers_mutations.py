"""Mutated files of all forms; `python tests/support/mutations.py 60000` reads more of them."""

import pytest
from mutations import failures


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files_are_read_or_refused(tmp_path, seed):
    assert [(name, problem) for name, _, problem in failures(150, 1000 + seed, tmp_path) if problem] == []
