"""What changes from epoch to epoch: histories, and how large the gradients of the layers are."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..walk import dict_of, named_ops
from .canvas import figure, styled
from .drawable import check_axes, finite, histories_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = ("train", "dev", "test", "val")


@styled
def curves(history: Any, ax: Any = None) -> "Figure":
    """Histories over the epochs: a runner, its four lists in its order, or {name: values}.

    Names as train_loss and dev_loss share a panel `loss`, other names one panel without a label.
    On the Axes `ax` all stand in one. ValueError for empty or unequal ones, and for values that are
    not finite; TypeError for what is none of the three.
    """
    found = histories_of("curves", history)
    if ax is not None:
        check_axes("curves: ax", ax)
        return _lines(ax, "", found).figure
    panels = _panels(found)
    drawing, axes = figure(1, len(panels), width=1.6 + 4.8 * len(panels))
    several = list(getattr(axes, "flat", [axes]))
    for panel, (quantity, lines) in zip(several, sorted(panels.items()), strict=True):
        _lines(panel, quantity, lines)
    return drawing


def _panels(histories: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """{"loss": {"train": values}} of {"train_loss": values}."""
    panels: dict[str, dict[str, Tensor]] = {}
    for name, values in histories.items():
        part, _, quantity = name.partition("_")
        if part not in PARTS or not quantity:
            part, quantity = name, ""
        panels.setdefault(quantity, {})[part] = values
    return panels


def _lines(axes: Any, quantity: str, histories: Mapping[str, Tensor]) -> Any:
    for label, values in histories.items():
        marker = "o" if len(values) == 1 else None  # one point makes no line
        axes.plot(range(len(values)), values, label=label.replace("_", " "), marker=marker)
    axes.set(xlabel="epoch", ylabel=quantity)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    return axes


def gradient_norms(model: Any) -> dict[str, float]:
    """{layer: |dL/d params|}, the root of the sum of squares over its params, after a backward.

    ValueError for a model without params that have a gradient.
    """
    norms = {
        name: float(sum(g.detach().double().square().sum() for g in grads.values()) ** 0.5)
        for name, op in named_ops(model).items()
        if (grads := dict_of(op, "grads"))
    }
    if not norms:
        came = type(model).__name__
        raise ValueError(f"gradient_norms: {came} has no gradients, wanted a model after backward")
    return norms


@styled
def gradient_flow(flow: Any, ax: Any = None) -> "Figure":
    """The norm of the gradient of each layer, on a logarithmic scale.

    `flow` is a model after a backward, drawn as a bar a layer from the first to the last, or what
    `gradient_norms` gave at several times, a list of {layer: norm}, drawn as a line a layer; of
    {epoch: {layer: norm}}, as the callback `runners.Traces` keeps it in `flow`, over the epochs.
    ValueError or TypeError for neither, for layers that differ, and for norms that are not finite.
    """
    if isinstance(flow, (Mapping, list, tuple)):
        if not flow:
            raise ValueError("gradient_flow: flow is empty, wanted {layer: norm}, or a list of it")
        if not isinstance(flow, Mapping):
            return _over_time(range(len(flow)), flow, "time", ax)
        if any(isinstance(norms, Mapping) for norms in flow.values()):
            return _over_time([*flow], [*flow.values()], "epoch", ax)
        return _bars(flow, ax)
    if not hasattr(flow, "backward"):
        wanted = "wanted a model, or a list of {layer: norm}"
        raise TypeError(f"gradient_flow: flow is a {type(flow).__name__}, {wanted}")
    return _bars(gradient_norms(flow), ax)


def _bars(norms: Mapping[str, float], ax: Any) -> "Figure":
    values = finite("gradient_flow: norms", list(norms.values())).tolist()
    axes = _axes(ax)
    drawn = axes.bar(list(norms), values, width=0.6)
    axes.bar_label(drawn, [f"{value:.2g}" for value in values], fontsize=8, padding=2)
    _logarithmic(axes, values)
    axes.set(xlabel="layer, from the inputs on", ylabel="|dL/d params|")
    return axes.figure


def _over_time(
    times: Sequence[Any], flow: Sequence[Mapping[str, float]], label: str, ax: Any
) -> "Figure":
    for norms in flow:
        if not isinstance(norms, Mapping):
            came = type(norms).__name__
            raise TypeError(f"gradient_flow: flow holds a {came}, wanted {{layer: norm}}")
    if any(norms.keys() != flow[0].keys() for norms in flow):
        raise ValueError("gradient_flow: the layers differ, wanted the same ones each time")
    axes, everything = _axes(ax), []
    for layer in flow[0]:
        values = finite(f"gradient_flow: {layer}", [norms[layer] for norms in flow]).tolist()
        axes.plot(times, values, label=layer)
        everything += values
    _logarithmic(axes, everything)
    axes.set(xlabel=label, ylabel="|dL/d params|")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return axes.figure


def _axes(ax: Any) -> Any:
    if ax is not None:
        check_axes("gradient_flow: ax", ax)
        return ax
    return figure()[1]


def _logarithmic(axes: Any, values: Sequence[float]) -> None:
    if positive := [value for value in values if value > 0]:  # where 0 has no place
        axes.set_yscale("log")
        axes.set_ylim(min(positive) / 3, max(positive) * 3)
