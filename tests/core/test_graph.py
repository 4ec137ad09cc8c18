import numpy as np
import pytest

keras = pytest.importorskip("keras")
from polyp_core.graph import compile_step  # noqa: E402


@pytest.mark.parametrize("is_weighted", [False, True])
def test_one_graph_serves_batches_of_any_size(is_weighted):
    traced = []

    def step(images, labels, *weights):
        traced.append(images.shape)
        total = keras.ops.sum(keras.ops.cast(images, "float32")) + keras.ops.sum(labels)
        return {"total": total + sum(keras.ops.sum(w) for w in weights)}

    compiled = compile_step(step, (2, 3, 1), is_weighted=is_weighted)
    for size in (4, 3, 1):
        batch = [np.ones((size, 2, 3, 1), np.uint8), np.ones((size, 1), np.float32)]
        if is_weighted:
            batch.append(np.full(size, 2, np.float32))
        assert float(compiled(*batch)["total"]) == size * (6 + 1 + 2 * is_weighted)
    assert len(traced) == 1
    with pytest.raises((TypeError, ValueError)):
        compiled(np.ones((4, 5, 5, 1), np.uint8), *batch[1:])
