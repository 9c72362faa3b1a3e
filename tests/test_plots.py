"""Figures: drawn from what is given, written whole, refused before work starts."""

import sys

import pytest
import torch

from opnet import Model_MLP_L2, make_moons, plots


def line_of(x):
    """p = 1 right of x1 = 0."""
    return (x[:, :1] > 0).float()


def test_curves_show_every_epoch_and_their_names():
    (axes,) = plots.curves({"train": [3.0, 2.0, 1.0], "dev": [4.0, 3.0, 2.0]}, "loss").axes
    assert [list(line.get_ydata()) for line in axes.lines] == [[3, 2, 1], [4, 3, 2]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["train", "dev"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "loss")


@pytest.mark.parametrize(
    "histories", [{}, {"a": [1.0]}, {"a": [], "b": []}, {"a": [1.0], "b": [1.0, 2.0]}]
)
def test_histories_that_are_empty_or_unequal_are_refused(histories):
    with pytest.raises(ValueError, match="curves: histories have lengths"):
        plots.curves(histories, "loss")


def test_a_boundary_is_where_p_is_one_half():
    sets = {"train": make_moons(20, seed=0), "dev": make_moons(10, seed=1)}
    figure = plots.decision_boundary(line_of, sets, "title")
    axes = figure.axes[0]
    assert axes.get_title() == "title"
    assert axes.get_xlim() == axes.get_ylim() == pytest.approx((-torch.pi, torch.pi))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["train", "dev"]
    _, line, *stars = axes.collections
    x1 = torch.cat([torch.tensor(path.vertices[:, 0]) for path in line.get_paths()])
    assert x1.abs().max() < 0.05
    assert [len(star.get_offsets()) for star in stars] == [20, 10]


def test_boundaries_stand_side_by_side_under_their_titles():
    sets = {"train": make_moons(20, seed=0)}
    figure = plots.decision_boundaries({"a": line_of, "b": lambda x: 1 - line_of(x)}, sets)
    left, right, _ = figure.axes
    assert (left.get_title(), right.get_title()) == ("a", "b")
    assert left.get_legend()
    assert not right.get_legend()


def test_a_boundary_moves_from_frame_to_frame(tmp_path):
    def moved(shift):
        return lambda x: torch.sigmoid(9 * (x[:, :1] - shift))

    sets = {"train": make_moons(20, seed=0)}
    film = plots.moving_boundary({f"at {x}": moved(x) for x in (-1, 0, 1)}, sets, resolution=20)
    assert plots.save_animation(film, tmp_path / "film.gif").stat().st_size > 5000
    axes = film._fig.axes[0]
    *_, line = axes.collections
    assert axes.get_title() == "at 1"
    assert len(axes.collections) == 3
    vertices = torch.cat([torch.tensor(path.vertices[:, 0]) for path in line.get_paths()])
    assert vertices.mean() == pytest.approx(1, abs=0.1)


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


def test_a_model_that_is_sure_everywhere_is_drawn_without_a_line():
    figure = plots.decision_boundary(lambda x: torch.ones(len(x), 1), {})
    assert len(figure.axes[0].collections) == 1


def test_the_grid_is_of_the_dtype_of_the_sets():
    X, y = make_moons(20, seed=0)
    model = Model_MLP_L2(2, 5, 1, dtype=torch.float64)
    plots.decision_boundary(model, {"train": (X.double(), y)})


def test_what_has_no_two_features_or_one_output_is_refused():
    with pytest.raises(ValueError, match=r"dev has X \[4, 3\], wanted \[N, 2\]"):
        plots.decision_boundary(line_of, {"dev": (torch.ones(4, 3), torch.ones(4, 1))})
    with pytest.raises(ValueError, match=r"predict gave \[40000, 2\], wanted \[40000, 1\]"):
        plots.decision_boundary(lambda x: x, {})
    with pytest.raises(ValueError, match="4 sets, wanted at most 3"):
        plots.decision_boundary(line_of, dict.fromkeys("abcd", make_moons(4, seed=0)))


@pytest.mark.parametrize("ending", [".png", ".pdf", ".svg"])
def test_save_makes_the_directory_and_writes(tmp_path, ending):
    path = plots.save(plots.curves({"a": [1.0], "b": [2.0]}, "y"), tmp_path / "new" / f"x{ending}")
    assert path.stat().st_size > 1000


def test_an_unknown_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"ends in '.jpeg', wanted one of .png"):
        plots.save(plots.curves({"a": [1.0], "b": [2.0]}, "y"), tmp_path / "new" / "x.jpeg")
    assert not (tmp_path / "new").exists()


def test_no_window_can_open():
    assert "matplotlib.pyplot" not in sys.modules
