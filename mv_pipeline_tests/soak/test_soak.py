"""A minute of the soak: what `make soak` does for half an hour."""

import pytest

from mv_pipeline_tests.conftest import LONG
from mv_pipeline_tests.soak.soak import soak


@pytest.mark.skipif(not LONG, reason="it takes minutes: part of `make test-long`")
def test_a_minute_of_files_faults_and_others(tally):
    result = soak(minutes=1, seed=2)

    tally.update(result.books.tally)
    assert result.losses == []
