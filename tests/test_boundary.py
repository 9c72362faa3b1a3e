"""Decision boundaries: where p is one half, from every source, legible and small."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from opnet import (
    BatchGD,
    BinaryCrossEntropyLoss,
    Dropout,
    Linear,
    Logistic,
    Model_MLP_L2,
    Sequential,
    Softmax,
    accuracy,
    make_moons,
    plots,
    split,
)
from opnet.plots.colours import SEVERAL, TWO, class_colours
from opnet.plots.drawable import winners
from runners import RunnerV2_1

Display = plots.DecisionBoundary
SMALL = 0.3e6  # bytes of an .svg


def step(x):
    """p = 1 right of x1 = 0."""
    return (x[:, :1] > 0).float()


def thirds(x):
    """Three classes, around the directions 0, 120 and 240 degrees."""
    angles = torch.tensor([0.0, 2.0, 4.0]) * torch.pi / 3
    return (4 * x[:, :2] @ torch.stack([angles.cos(), angles.sin()])).softmax(dim=1)


@pytest.fixture(scope="module")
def moons():
    parts = split(*make_moons(1000, noise=0.2, seed=0), seed=0)
    return dict(zip(("train", "dev", "test"), parts, strict=True))


@pytest.fixture(scope="module")
def trained(moons, tmp_path_factory):
    model = Model_MLP_L2(2, 5, 1, generator=torch.Generator().manual_seed(0))
    runner = RunnerV2_1(model, BatchGD(8.0, model), accuracy, BinaryCrossEntropyLoss(model))
    runner.train(moons["train"], moons["dev"], num_epochs=200, log_epochs=0)
    runner.save_model(directory := tmp_path_factory.mktemp("run"))
    return SimpleNamespace(runner=runner, directory=directory)


def collections(display, rasterised=None):
    return [c for c in display.ax_.collections if rasterised in (None, bool(c.get_rasterized()))]


def test_the_line_is_where_p_is_one_half():
    display = Display.from_predict(step, xlim=(-1, 2), ylim=(-3, 3), title="title")
    assert display.ax_.get_title() == "title"
    assert (display.ax_.get_xlim(), display.ax_.get_ylim()) == ((-1, 2), (-3, 3))
    _, line = display.ax_.collections
    x1 = torch.cat([torch.tensor(path.vertices[:, 0]) for path in line.get_paths()])
    assert x1.abs().max() <= 3 / 199
    assert display.figure_ is display.ax_.figure


def test_p_stands_at_its_place():
    display = Display(lambda x: (x @ torch.tensor([[0.3], [0.1]])).sigmoid(), resolution=7)
    x2, x1 = torch.meshgrid(display.x2, display.x1, indexing="ij")
    torch.testing.assert_close(display.p[..., 1], (0.3 * x1 + 0.1 * x2).sigmoid())


def test_every_source_shows_the_same(trained, moons):
    shown = [
        Display.from_runner(trained.runner, moons),
        Display.from_checkpoint(trained.directory, moons),
        Display.from_predict(trained.runner.model, moons),
        Display.from_predict(trained.runner.predict, moons),
    ]
    scores = {name: trained.runner.evaluate(rows)[0] for name, rows in moons.items()}
    for display in shown:
        torch.testing.assert_close(display.p, shown[0].p)
        assert display.scores == pytest.approx(scores)


@pytest.mark.parametrize("estimator", [LogisticRegression(), LinearSVC()])
@pytest.mark.parametrize("names", [(0, 1), (3, 7), ("left", "right")])
def test_an_estimator_of_any_classes(estimator, names, moons):
    X, y = (part.numpy() for part in moons["train"])
    y = np.array(names)[y.ravel().astype(int)]
    estimator.fit(X, y)
    display = Display.from_estimator(estimator, {"train": (X, y)})
    assert display.scores["train"] == pytest.approx(estimator.score(X, y))
    assert display.classes == list(names)
    assert Display.from_estimator(estimator, classes=["a", "b"]).classes == ["a", "b"]


def test_of_many_rows_some_are_drawn_and_all_are_judged():
    display = Display.from_predict(step, {"train": [torch.rand(2500, 2), torch.arange(2500.0) % 2]})
    drawn, said = display.ax_.collections[2], display.ax_.get_legend().get_texts()[0].get_text()
    assert len(drawn.get_offsets()) == 1000
    assert len(np.unique(drawn.get_facecolors(), axis=0)) == 2  # though the classes take turns
    assert said == f"train, 1 in 2.5: accuracy {display.scores['train']:.3f}"


def test_markers_rings_and_scores(moons):
    display = Display.from_predict(step, moons)
    _, _, *sets, rings = display.ax_.collections
    assert [len(rows.get_offsets()) for rows in sets] == [640, 160, 200]
    assert len({str(rows.get_paths()[0].vertices) for rows in sets}) == 3
    wrong = torch.cat([X[(step(X) != y).flatten()] for X, y in moons.values()])
    np.testing.assert_allclose(rings.get_offsets(), wrong)
    said = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    scores = [float(accuracy(step(X), y)) for X, y in moons.values()]
    expected = [f"{n}: accuracy {s:.3f}" for n, s in zip(moons, scores, strict=True)]
    assert said == [*expected, "misclassified"]


def test_a_set_may_be_one_row():
    row = [torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0]])]
    display = Display.from_predict(step, {"test": row})
    *_, points = display.ax_.collections
    assert points.get_offsets().tolist() == [[1.0, 0.0]]


def test_a_row_just_below_one_half_is_of_class_0():
    below = torch.tensor(0.5 - 1e-12, dtype=torch.float64)
    X, y = torch.ones(3, 2), torch.zeros(3)
    assert Display(lambda x: below.expand(len(x), 1), {"a": (X, y)}).scores == {"a": 1}
    assert Display(lambda x: torch.full((len(x), 1), 0.5), {"a": (X, y)}).scores == {"a": 0}


def test_what_is_all_right_has_no_rings_and_what_is_sure_no_line():
    X = torch.ones(3, 2)
    display = Display.from_predict(lambda x: torch.ones(len(x), 1), {"a": (X, torch.ones(3))})
    assert len(display.ax_.collections) == 2
    assert display.scores == {"a": 1}


def test_of_several_classes_each_place_has_the_colour_of_the_most_probable():
    X = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7], [1.0, 0.0]])
    for y in (torch.tensor([0, 1, 2, 1]), torch.eye(3)[[0, 1, 2, 1]]):
        display = Display.from_predict(thirds, {"a": (X, y)}, resolution=50)
        assert display.scores == {"a": 0.75}
    image = torch.tensor(display.ax_.images[0].get_array())
    for k in range(3):
        own = image[display.p.argmax(dim=-1) == k]
        hue = (1 - own) / (1 - own).amax(dim=1, keepdim=True)
        torch.testing.assert_close(hue, hue[:1].expand_as(hue))
    assert [t.get_text() for t in display.ax_.child_axes[0].get_yticklabels()] == ["0", "1", "2"]


def test_two_columns_of_probabilities_are_one_of_class_1():
    two = Display(lambda x: torch.cat([1 - x[:, :1].sigmoid(), x[:, :1].sigmoid()], dim=1))
    torch.testing.assert_close(two.p, Display(lambda x: x[:, :1].sigmoid()).p)


def test_other_features_are_held():
    seen = []
    X, y = torch.randn(9, 4), torch.ones(9)

    def predict(x):
        seen.append(x)
        return step(x[:, 2:])

    held = {"features": (2, 0), "fixed": {1: 0.5, 3: -2.0}}
    display = Display(predict, {"train": (X, y)}, resolution=11, **held)
    grid, rows = seen
    assert torch.equal(rows, X)
    assert grid[:, [1, 3]].unique(dim=0).tolist() == [[0.5, -2.0]]
    assert torch.equal(grid[:, 2].reshape(11, 11)[0], display.x1)
    assert torch.equal(grid[:, 0].reshape(11, 11)[:, 0], display.x2)
    assert float(display.x1[0]) < X[:, 2].min()


@pytest.mark.parametrize(
    ("features", "fixed", "names"),
    [((0, 1), {}, ("x₁", "x₂")), ((1, 0), {}, ("x₂", "x₁")), ((2, 0), {1: 0}, ("x₃", "x₁"))],
)
def test_axes_have_the_names_of_their_features(features, fixed, names):
    axes = Display.from_predict(step, features=features, fixed=fixed, resolution=9).ax_
    assert (axes.get_xlabel(), axes.get_ylabel()) == names


def test_a_model_is_drawn_in_eval_mode_in_its_dtype_and_keeps_no_trace(moons):
    model = Sequential(Linear(2, 1, dtype=torch.float64), Dropout(0.5), Logistic())
    outputs = model(torch.ones(1, 2, dtype=torch.float64))
    one, two = Display(model, moons), Display(model, moons)
    assert torch.equal(one.p, two.p)
    assert model.outputs is outputs
    assert model.layers[1].training


def test_softmax_of_a_model():
    model = Sequential(Linear(2, 4), Softmax())
    display = Display(model, resolution=9)
    assert torch.equal(winners(display.p.flatten(0, 1)), display.p.flatten(0, 1).argmax(dim=1))
    assert len(display.classes) == 4


def legible(display):
    """Nothing is cut off; legend, labels and plane do not overlap."""
    figure, axes = display.figure_, display.ax_
    figure.draw_without_rendering()
    whole, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(whole.x0, whole.y0) >= 0
    assert whole.x1 <= width
    assert whole.y1 <= height
    boxes = [axes.get_window_extent(), axes.xaxis.label.get_window_extent()]
    boxes += [axes.get_legend().get_window_extent()] if axes.get_legend() else []
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if a.overlaps(b)]


LIMITS = {"square": (-3, 3), "flat": (-1, 1), "tall": (-9, 9), "other units": (-900, 900)}


@pytest.mark.parametrize("ylim", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("predict", [step, thirds])
def test_figures_are_legible_and_small(predict, ylim, moons, tmp_path):
    display = Display.from_predict(predict, moons, xlim=(-3, 3), ylim=ylim, title="a title")
    legible(display)
    path = plots.save(display.figure_, tmp_path / "x.svg")
    assert path.stat().st_size < SMALL
    assert path.read_text().count("<image") >= 1


def rugged(x):
    """p with hundreds of hills."""
    return 0.5 + (20 * x[:, :1]).sin() * (20 * x[:, 1:]).cos() / 2


def test_neither_hills_nor_rows_make_a_large_file(tmp_path):
    many = {"train": make_moons(20_000, noise=0.2, seed=0)}
    display = Display.from_predict(rugged, many, xlim=(-3, 3), ylim=(-2, 2))
    path = plots.save(display.figure_, tmp_path / "x.svg")
    assert path.stat().st_size < 4 * SMALL


def test_panels_stand_side_by_side(moons):
    figure, panels = plots.figure(1, 2, width=10)
    for axes, predict in zip(panels, (step, rugged), strict=True):
        display = Display.from_predict(predict, moons, ax=axes)
        assert display.figure_ is figure
    display.colorbar()
    assert [len(axes.child_axes) for axes in panels] == [0, 1]
    legible(display)


def test_a_boundary_moves_from_frame_to_frame(tmp_path):
    def moved(shift):
        return lambda x: torch.sigmoid(9 * (x[:, :1] - shift))

    sets = {"train": make_moons(20, seed=0)}
    film = plots.moving_boundary({f"at {x}": moved(x) for x in (-1, 0, 1)}, sets, resolution=20)
    assert plots.save_animation(film, tmp_path / "film.gif").stat().st_size > 5000
    axes = film._fig.axes[0]
    _, line, *_ = axes.collections
    assert axes.get_title() == "at 1"
    assert len(axes.child_axes) == 1  # the colour bar
    vertices = torch.cat([torch.tensor(path.vertices[:, 0]) for path in line.get_paths()])
    assert vertices.mean() == pytest.approx(1, abs=0.1)


# How a colour (linear RGB) looks without one kind of cone. Machado, Oliveira, Fernandes 2009.
CONES = {
    "all three": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def lab(colour, cones):
    """CIE L*a*b* of "#rrggbb" as those cones see it."""
    s = np.array([int(pair, 16) / 255 for pair in re.findall("[0-9a-f]{2}", colour)])
    linear = np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = to_xyz @ np.clip(np.array(cones) @ linear, 0, 1) / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("cones", CONES.values(), ids=CONES)
@pytest.mark.parametrize(("colours", "apart"), [(TWO, 40), (SEVERAL, 9)])
def test_the_colour_blind_can_tell_classes_apart(colours, apart, cones):
    seen = [lab(colour, cones) for colour in colours]
    distances = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[i + 1 :]]
    assert min(distances) > apart


def test_any_number_of_classes_has_colours():
    for count in (2, 3, 8, 9, 40):
        assert len({str(colour) for colour in class_colours(count)}) == count
