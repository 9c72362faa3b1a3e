"""Figures: drawn from what is given, written whole, nothing cut off, refused before work starts."""

import errno
import sys

import pytest
import torch

from opnet import (
    BatchGD,
    BinaryCrossEntropyLoss,
    Linear,
    Logistic,
    Model_MLP_L2,
    Sequential,
    accuracy,
    make_moons,
    plots,
)
from runners import RunnerV2_1


def texts_of(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.fixture(scope="module")
def trained():
    moons = make_moons(40, seed=0)
    model = Model_MLP_L2(2, 5, 1, generator=torch.Generator().manual_seed(0))
    runner = RunnerV2_1(model, BatchGD(1.0, model), accuracy, BinaryCrossEntropyLoss(model))
    runner.train(moons, moons, num_epochs=3, log_epochs=0)
    return runner


def test_curves_show_every_epoch_and_their_names():
    (axes,) = plots.curves({"train": [3.0, 2.0, 1.0], "dev": [4.0, 3.0, 2.0]}).axes
    assert [list(line.get_ydata()) for line in axes.lines] == [[3, 2, 1], [4, 3, 2]]
    assert texts_of(axes) == ["train", "dev"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "")


def test_a_runner_its_lists_and_a_dict_of_them_are_drawn_alike(trained):
    names = ("train_scores", "train_loss", "dev_scores", "dev_loss")
    lists = [getattr(trained, name) for name in names]
    for history in (trained, lists, dict(zip(names, lists, strict=True))):
        loss, scores = plots.curves(history).axes
        assert (loss.get_ylabel(), scores.get_ylabel()) == ("loss", "scores")
        assert texts_of(loss) == texts_of(scores) == ["train", "dev"]
        assert list(loss.lines[0].get_ydata()) == trained.train_loss
        assert list(scores.lines[1].get_ydata()) == trained.dev_scores


def test_epochs_are_whole_numbers():
    axes = plots.curves({"train_loss": [1.0, 0.5, 0.2]}).axes[0]
    assert all(float(tick).is_integer() for tick in axes.get_xticks())


def test_curves_stand_together_on_axes_that_are_given(trained):
    figure, axes = plots.figure()
    assert plots.curves(trained, axes) is figure
    assert texts_of(axes) == ["train scores", "train loss", "dev scores", "dev loss"]


@pytest.mark.parametrize("histories", [{}, {"a": []}, {"a": [1.0], "b": [1.0, 2.0]}])
def test_histories_that_are_empty_or_unequal_are_refused(histories):
    with pytest.raises(ValueError, match="curves: histories have lengths"):
        plots.curves(histories)


def deep(layers):
    ops = [
        op
        for layer in range(1, layers + 1)
        for op in (
            Linear(2, 2, f"fc{layer}", generator=torch.Generator().manual_seed(layer)),
            Logistic(),
        )
    ]
    model = Sequential(*ops)
    model(torch.ones(3, 2))
    model.backward(torch.ones(3, 2))
    return model


def test_a_gradient_flow_is_the_norm_of_all_gradients_of_a_layer():
    model = deep(3)
    norms = plots.gradient_norms(model)
    (axes,) = plots.gradient_flow(model).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == list(norms)
    assert [bar.get_height() for bar in axes.patches] == list(norms.values())
    grads = model.layers[2].grads.values()
    assert norms["fc2"] == pytest.approx(torch.cat([g.flatten() for g in grads]).norm().item())


def test_a_gradient_flow_over_time_is_a_line_a_layer():
    (axes,) = plots.gradient_flow([{"fc1": 1.0, "fc2": 0.1}, {"fc1": 0.5, "fc2": 0.0}]).axes
    assert [list(line.get_ydata()) for line in axes.lines] == [[1, 0.5], [0.1, 0]]
    assert axes.get_yscale() == "log"


def test_layers_without_any_gradient_are_drawn_too():
    (axes,) = plots.gradient_flow({"fc1": 0.0, "fc2": 0.0}).axes
    assert [bar.get_height() for bar in axes.patches] == [0, 0]


@pytest.mark.parametrize(
    ("labels", "predictions"),
    [
        ([0, 0, 1, 1, 1], [0, 1, 1, 1, 0]),
        (torch.tensor([[0.0], [0.0], [1.0], [1.0], [1.0]]), [0.1, 0.5, 0.9, 0.6, 0.4]),
        ([0, 0, 1, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0, 1], [0.2, 0.8], [0.7, 0.3]]),
        ([[1, 0], [1, 0], [0, 1], [0, 1], [0, 1]], [[0], [1], [1], [1], [0]]),
    ],
)
def test_a_confusion_counts_rows_of_a_class_in_its_row(labels, predictions):
    (axes,) = plots.confusion(labels, predictions, classes=["no", "yes"]).axes
    assert [text.get_text() for text in axes.texts] == ["1", "1", "1", "2"]
    assert axes.get_title() == "accuracy 0.600"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["no", "yes"]
    torch.testing.assert_close(
        torch.tensor(axes.images[0].get_array()), torch.tensor([[1 / 2, 1 / 2], [1 / 3, 2 / 3]])
    )


KINDS = {
    "curves": lambda: plots.curves({"train_loss": [3e4, 1.0], "dev_loss": [2.0, 1.0]}),
    "flow": lambda: plots.gradient_flow(deep(9)),
    "flow over time": lambda: plots.gradient_flow([plots.gradient_norms(deep(9))] * 3),
    "confusion": lambda: plots.confusion([0, 1], [1, 0]),
    "confusion, long names": lambda: plots.confusion(
        [0, 1, 2], [1, 0, 2], classes=["Iris setosa", "Iris versicolor", "Iris virginica"]
    ),
    "confusion, many": lambda: plots.confusion(range(30), range(30)),
}


@pytest.mark.parametrize("draw", KINDS.values(), ids=KINDS)
def test_nothing_is_cut_off(draw):
    figure = draw()
    figure.draw_without_rendering()
    whole = figure.get_tightbbox()  # in inches
    width, height = figure.get_size_inches()
    assert whole.x0 >= 0
    assert whole.y0 >= 0
    assert whole.x1 <= width
    assert whole.y1 <= height


def test_descents_show_every_path_on_the_contours_of_its_function():
    paths = {"a": torch.tensor([[2.0, 1.0], [1.0, 0.0], [0.0, 0.0]]), "b": torch.ones(1, 2)}
    _, axes = plots.figure()
    window = ((-3.0, 3.0), (-2.0, 2.0))
    lines = plots.descents(axes, lambda x1, x2: x1**2 + 4 * x2**2, paths, window, [(0.0, 0.0)])
    assert [line.get_label() for line in lines] == ["a", "b"]
    assert lines[0].get_xydata().tolist() == paths["a"].tolist()
    assert (axes.get_xlim(), axes.get_ylim()) == window
    (contours,) = axes.collections
    for level, path in zip(contours.levels, contours.get_paths(), strict=True):
        x1, x2 = torch.tensor(path.vertices).T
        torch.testing.assert_close(x1**2 + 4 * x2**2, torch.full_like(x1, level), atol=2e-3, rtol=0)


@pytest.mark.parametrize("ending", [".png", ".pdf", ".svg"])
def test_save_makes_the_directory_and_writes(tmp_path, ending):
    path = plots.save(plots.curves({"a": [1.0], "b": [2.0]}), tmp_path / "new" / f"x{ending}")
    assert path.stat().st_size > 1000


@pytest.mark.parametrize("ending", [".png", ".pdf", ".svg"])
def test_a_full_disk_leaves_the_figure_of_before(tmp_path, monkeypatch, ending):
    drawing, path = plots.curves({"a": [1.0], "b": [2.0]}), tmp_path / f"x{ending}"
    path.write_bytes(b"the one before")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("opnet.files.os.write", full)
    with pytest.raises(ValueError, match=rf"^save: .*x{ending}.*: No space left on device$"):
        plots.save(drawing, path)
    monkeypatch.undo()
    assert path.read_bytes() == b"the one before"
    assert [*tmp_path.iterdir()] == [path]


def test_an_unknown_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"ends in '.jpeg', wanted one of .png"):
        plots.save(plots.curves({"a": [1.0], "b": [2.0]}), tmp_path / "new" / "x.jpeg")
    assert not (tmp_path / "new").exists()


def test_no_window_can_open():
    assert "matplotlib.pyplot" not in sys.modules
