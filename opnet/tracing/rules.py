"""The line of the chain rule that makes each tensor of an op, as its docstring has it."""

import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from ..op import Op

RULES = ("forward", "backward", "backward_params", "backward_inputs")
APART = re.compile(r"[;,] {2,}|\. {2,}| {4,}|\n")  # formulas of one docstring


def outputs_rule(op: Any) -> str:
    """`y = x W + b`; empty where the docstring begins with no formula."""
    return next((piece for piece in _pieces(op) if not _is_derivative(piece)), "")


def param_rule(op: Any, key: str) -> str:
    """`dL/dW = x^T g`."""
    return next((piece for piece in _pieces(op) if piece.startswith(f"dL/d{key} ")), "")


def inputs_rule(op: Any, keys: Any) -> str:
    """`dL/dx = g W^T`, or of an activation `dL/dz = g dp/dz,  dp/dz = p (1 - p)`."""
    for piece in filter(_is_derivative, _pieces(op)):
        of, _, by = piece.split(" ")[0].partition("/d")
        if by not in keys and not by.startswith("d"):
            return piece if of == "dL" else f"dL/d{by} = g {of}/d{by},  {piece}"
    return ""


def source_of(op: Any) -> str:
    """The rules as they are written in the class; empty where Python has no source."""
    return "\n".join(_sources(type(op)))


def _sources(cls: type) -> Iterator[str]:
    for rule in RULES:
        found = getattr(cls, rule, None)
        if found is None or found is getattr(Op, rule):
            continue
        try:
            yield textwrap.dedent(inspect.getsource(found))
        except (OSError, TypeError):  # written at a prompt, or built in
            continue


def _pieces(op: Any) -> Iterator[str]:
    """The formulas in the docstrings of its class and of those above, in order."""
    for cls in type(op).__mro__:
        if cls is not Op and cls is not object:
            for piece in APART.split(inspect.cleandoc(vars(cls).get("__doc__") or "")):
                if " = " in piece:
                    yield piece.strip().rstrip(".")


def _is_derivative(piece: str) -> bool:
    return re.match(r"d\w+/d\w+ =", piece) is not None
