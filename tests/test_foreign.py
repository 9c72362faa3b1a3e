"""Names and ways round of other programs: what a file tells is taken, what it cannot is asked."""

import pytest
import torch

from opnet import CheckpointError
from opnet.foreign import orientation, per_layer, translated

TALL, SQUARE = torch.arange(10.0).reshape(2, 5), torch.arange(9.0).reshape(3, 3)
F = torch.arange(5.0)
ROW = F.reshape(1, 5)


def equal(found, wanted):
    return list(found) == list(wanted) and all(torch.equal(found[k], wanted[k]) for k in wanted)


def test_a_whole_net_is_split_at_the_last_dot():
    flat = {"fc1.weight": TALL, "fc1.bias": F, "deep.fc2.weight": SQUARE}
    layers = per_layer(flat, "net")
    assert list(layers) == ["fc1", "deep.fc2"]
    assert equal(layers["fc1"], {"weight": TALL, "bias": F})
    for key in ("weight", ".weight", "fc1."):
        with pytest.raises(CheckpointError, match=r"net: .* names no layer"):
            per_layer({key: F}, "net")


OURS = {"W": TALL, "b": ROW}
ROWS = {
    "paddle": ({"weight": TALL, "bias": F}, None, "paddle", None, OURS),
    "paddle, square": ({"weight": SQUARE}, None, "paddle", None, {"W": SQUARE}),
    "paddle, forced": ({"weight": TALL.T}, None, "paddle", True, {"W": TALL}),
    "torch": ({"weight": TALL.T, "bias": F}, None, "torch", None, OURS),
    "torch, fits": ({"weight": TALL.T, "bias": F}, OURS, "torch", None, OURS),
    "torch, fits as it is": ({"weight": TALL, "bias": F}, OURS, "torch", None, OURS),
    "torch, told as it is": ({"weight": TALL}, None, "torch", False, {"W": TALL}),
    "torch, square, turned": ({"weight": SQUARE}, None, "torch", True, {"W": SQUARE.T}),
    "torch, square, as it is": ({"weight": SQUARE}, None, "torch", False, {"W": SQUARE}),
    "ours": (OURS, None, "torch", None, OURS),
    **{
        f"a learner's {', '.join(own)}": (own, own, "torch", None, own)
        for own in (
            {"weight": TALL, "bias": F},
            {"weight": SQUARE},
            {"running_mean": F},
            {"num_batches_tracked": F[0]},
        )
    },
    "ours, told": (OURS, None, "torch", True, OURS),
    "ours, a square": ({"W": SQUARE, "b": ROW}, None, "torch", None, {"W": SQUARE, "b": ROW}),
    "ours, a wrong shape stays": ({"W": TALL, "b": F}, OURS, "torch", None, {"W": TALL, "b": F}),
    "a norm of torch": (
        {"weight": F, "bias": F, "running_mean": F, "running_var": F, "num_batches_tracked": F[0]},
        None,
        "torch",
        None,
        {"W": ROW, "b": ROW, "running_mean": ROW, "running_var": ROW},
    ),
    "a norm of Paddle": (
        {"weight": F, "bias": F, "_mean": F, "_variance": F},
        None,
        "paddle",
        None,
        {"W": ROW, "b": ROW, "running_mean": ROW, "running_var": ROW},
    ),
    "only b": ({"b": F}, None, "torch", None, {"b": F}),
    "names of nobody": ({"x": F, "weight": TALL}, None, "paddle", None, {"x": F, "W": TALL}),
}


@pytest.mark.parametrize(
    ("found", "wanted", "by", "transpose", "ours"), ROWS.values(), ids=ROWS.keys()
)
def test_the_names_and_shapes_become_ours(found, wanted, by, transpose, ours):
    before = dict(found)
    assert equal(translated(found, wanted, by, transpose, "fc1"), ours)
    assert found == before


def test_what_the_file_cannot_tell_must_be_told():
    with pytest.raises(CheckpointError, match=r"fc1: weight is square.*transpose=True.*=False"):
        translated({"weight": SQUARE}, {"W": SQUARE}, "torch", None, "fc1")
    with pytest.raises(CheckpointError, match="fc1: holds b twice, once as bias"):
        translated({"b": F, "bias": F}, None, "paddle", None, "fc1")
    with pytest.raises(CheckpointError, match="holds running_mean twice"):
        translated({"_mean": F, "running_mean": F}, None, "paddle", None, "fc1")


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ((5, 2), (1, 5), True),
        ((2, 5), (5, 1), False),
        ((5, 5), (5, 5), None),
        ((2, 5), (5, 2), None),
        ((2, 5), (3, 1), None),
        ((5, 5), (1, 5), True),
        ((5, 5), (5, 1), False),
    ],
)
def test_two_layers_tell_by_their_chain(first, second, said):
    assert orientation(torch.ones(first), torch.ones(second)) is said
