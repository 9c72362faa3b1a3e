"""Models from checkpoints without knowing their class beforehand, and to those of Paddle."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch

from . import checkpoint
from .allowance import Allowance
from .checkpoint import Found
from .describe import OWN, Description, changed, description
from .errors import CheckpointError, check_path, plain
from .foreign import orientation
from .op import Op
from .paddle import paddle_bytes

DTYPES = ("float16", "bfloat16", "float32", "float64")
MOST_LAYERS, MOST_LAYERS_DEEP = 10_000, 20
MAKE_IT = "make it and use load_model of a runner"
TWO_LAYERS = ("fc1.pdparams", "fc2.pdparams")  # what is looked for where no manifest says

_registered: dict[str, type] = {}
Class = TypeVar("Class", bound=type)


def register(cls: Class) -> Class:
    """Let `load` make objects of `cls`, a learner's op or model: a decorator, or called once.

    Each argument of its constructor is to be kept as the attribute of the same name, a plain value.
    TypeError for what is no class with forward and backward. One of the same name is replaced.
    """
    if not (isinstance(cls, type) and _is_op(cls)):
        raise TypeError(f"register: {cls!r} is no class with forward and backward")
    _registered[cls.__name__] = cls
    return cls


def load(path: str | Path, *, transpose: bool | None = None, verify: bool = True) -> Any:
    """The model that was saved in the directory `path`, with its weights, on the CPU.

    Its class must be opnet's own or one that was given to `register`: no file can name another.
    Without a manifest, fc1.pdparams and fc2.pdparams are those of a Model_MLP_L2, of torch's or
    Paddle's layers too; a `path` that is a file is the state dict of such a net. torch's weights
    are [out, in]: they are transposed, and where a square matrix hides which way round it is,
    `transpose` must say. `verify=False` reads the files as they are, whatever the manifest says.
    A model's tensors may take 16 times as much memory as those of the files, and 16 MiB: of one
    that needs more, make it yourself and use load_model of a runner. CheckpointError, one line,
    when a file is missing, damaged, or does not fit.
    """
    path = check_path("load: path", path)
    found = checkpoint.read(path, TWO_LAYERS, verify=verify)
    told = (found.about or {}).get("model")
    with _blamed(found.path):
        if told is None:
            told, transpose = _two_layers(found, transpose)
        with torch.random.fork_rng(devices=[]), Allowance(_allowed(found), MAKE_IT):
            _count(told)
            model = _made(told)
        checkpoint.layers_of(model)  # that they can be filled
    checkpoint.assign(found, model, transpose=transpose)
    with _blamed(found.path):
        if other := changed(told, model):
            raise CheckpointError(f"{other}; {MAKE_IT}")
    return model


def save_paddle(model: Any, directory: str | Path) -> list[Path]:
    """Write <layer>.pdparams of each layer with weights so that paddle.load reads them.

    They are pickles of NumPy arrays under opnet's names, W [I, O] and b [1, O]; bfloat16 goes by
    its bits. The directory is one that `load` reads too. TypeError for no model, else
    CheckpointError and NonFiniteError as a save.
    """
    if isinstance(model, type) or not _is_op(model):
        raise TypeError(
            f"save_paddle: model is {model!r:.80}, wanted one with forward and backward"
        )
    directory = checkpoint.prepare(check_path("save_paddle: directory", directory), model)
    about = {"model": description(model)}
    layers = checkpoint.layers_of(model)
    return checkpoint.save(directory, layers, about=about, pack=paddle_bytes)


def _is_op(thing: Any) -> bool:
    return hasattr(thing, "forward") and hasattr(thing, "backward")


def _allowed(found: Found) -> int:
    """The bytes that its model may take: the sizes in a manifest may be made up.

    Many tensors may be views of one storage, which takes its bytes once.
    """
    tensors = (tensor for part in found.layers.values() for tensor in part.tensors.values())
    storages = {s.data_ptr(): s.nbytes() for s in (t.untyped_storage() for t in tensors)}
    return 2**24 + 16 * sum(storages.values())


def _count(told: Any) -> None:
    """CheckpointError for more layers than a file of a few bytes each should be able to ask for."""
    todo, count = [told], 0
    while todo:
        layers = told.get("layers") if isinstance(told := todo.pop(), dict) else None
        if isinstance(layers, list):
            todo += layers
            count += len(layers)
        if count > MOST_LAYERS:
            raise CheckpointError(f"describes more than {MOST_LAYERS} layers; {MAKE_IT}")


def _made(told: Any, depth: int = 0) -> Any:
    """An object of the class and with the arguments that a description tells."""
    if not isinstance(told, dict) or depth > MOST_LAYERS_DEEP:
        raise CheckpointError(f"describes a layer as {str(told)[:80]!r}, wanted a class")
    cls, arguments = _class_of(told.get("class")), told.get("arguments")
    if not isinstance(arguments, dict):
        why = f"cannot be made again: {told.get('why', 'no arguments')!s:.100}"
        raise CheckpointError(f"{told['class']} {why}; {MAKE_IT}")
    if (dtype := arguments.get("dtype")) is not None:
        if dtype not in DTYPES:
            raise CheckpointError(f"dtype is {dtype!r:.40}, wanted one of {', '.join(DTYPES)}")
        arguments = arguments | {"dtype": getattr(torch, dtype)}
    layers = told.get("layers", [])
    if not isinstance(layers, list):
        raise CheckpointError(f"{told['class']} has no list of layers")
    return cls(*(_made(layer, depth + 1) for layer in layers), **arguments)


def _class_of(name: Any) -> type:
    """The class of that name: of opnet's public ones by `opnet.Name`, else a registered one."""
    import opnet

    if isinstance(name, str) and name.removeprefix(OWN) in opnet.__all__ and OWN in name:
        cls = getattr(opnet, name.removeprefix(OWN))
        if isinstance(cls, type) and issubclass(cls, Op):
            return cls
    if cls := _registered.get(name if isinstance(name, str) else ""):
        return cls
    raise CheckpointError(f"class {name!r:.80} is not known: pass it to opnet.register first")


def _two_layers(found: Found, transpose: bool | None) -> tuple[Description, bool | None]:
    """The Model_MLP_L2 that fc1 and fc2 are of, and which way round they are."""
    if found.layers.keys() != {"fc1", "fc2"}:
        raise CheckpointError(f"holds {sorted(found.layers)}, wanted fc1 and fc2")
    first, second = found.layers["fc1"], found.layers["fc2"]
    if first.by == "torch" and transpose is None and "weight" in first.tensors:
        transpose = orientation(*(_matrix(part.tensors, "weight") for part in (first, second)))
    parts = checkpoint.translated(found, None, transpose)
    W1, W2 = (_matrix(parts[name], "W") for name in ("fc1", "fc2"))
    dtype = str(W1.dtype).removeprefix("torch.")
    sizes = {"input_size": len(W1), "hidden_size": W1.shape[1], "output_size": W2.shape[1]}
    return {"class": "opnet.Model_MLP_L2", "arguments": sizes | {"dtype": dtype}}, transpose


def _matrix(tensors: dict[str, torch.Tensor], key: str) -> torch.Tensor:
    if (W := tensors.get(key)) is None or W.ndim != 2:
        raise CheckpointError("fc1, fc2 hold no two matrices W [I, H] and W [H, O]")
    return W


@contextmanager
def _blamed(path: Path) -> Iterator[None]:
    """What goes wrong in making the model is the checkpoint's fault, in one line."""
    try:
        yield
    except RecursionError:
        raise CheckpointError(f"{path}: its model is too deep") from None
    except Exception as error:  # a constructor may raise what it likes
        said = " ".join(str(error).split()).removeprefix(f"{path}: ")
        raise CheckpointError(f"{path}: {plain(said, 400)}") from error
