import math

import numpy as np
import pandas as pd
import pytest

from polyp_core import history
from polyp_core.config import TrainingConfig
from polyp_core.errors import RunError
from polyp_core.runs import HISTORY_COLUMNS


def test_a_gap_ends_what_the_history_knows():
    table = pd.DataFrame({"epoch": [1, 2, 3]})
    assert history.count_unbroken(table) == 3
    assert history.count_unbroken(table[table["epoch"] != 2]) == 1
    assert history.count_unbroken(table[table["epoch"] > 1]) == 0
    assert history.count_unbroken(table[:0]) == 0


def test_validation_is_described_by_hand():
    labels, probabilities = np.array([1, 1, 1, 0, 0]), np.array([0.9, 0.5, 0.2, 0.4, 0.6])
    described = history.describe_validation(labels, probabilities)
    # Pairs won by the positives: 2 + 1 + 0 of 6.
    assert described["val_auc"] == 0.5
    assert described["val_accuracy"] == 0.6
    assert [described[f"val_{name}"] for name in ("tp", "fp", "tn", "fn")] == [2, 1, 1, 1]
    expected = -math.log(0.9 * 0.5 * 0.2 * 0.6 * 0.4) / 5
    assert described["val_loss"] == pytest.approx(expected)
    assert math.isnan(history.describe_validation(labels[:3], probabilities[:3])["val_auc"])


def test_the_history_grows_by_rows_of_its_own_columns():
    row = dict.fromkeys(HISTORY_COLUMNS, 0.5) | {"epoch": 1, "more": 9}
    table = history.append_row(pd.DataFrame(), row)
    table = history.append_row(table, row | {"epoch": 2})
    assert list(table.columns) == list(HISTORY_COLUMNS)
    assert table["epoch"].tolist() == [1, 2]


@pytest.mark.parametrize(("loss", "val_loss"), [(math.nan, 0.7), (0.7, math.inf)])
def test_a_loss_that_is_no_number_fails_with_a_sentence_and_keeps_what_was_good(loss, val_loss):
    settings = TrainingConfig(learning_rate=1.0)
    with pytest.raises(RunError) as raised:
        history.check_finite({"epoch": 3, "loss": loss, "val_loss": val_loss}, settings)
    assert str(raised.value) == (
        "The loss is not a number any more in epoch 3: the steps were too large. Expected a finite "
        "loss; the epochs before are kept. Start a new run with a lower training.learning_rate. "
        "Received: learning_rate=1"
    )
