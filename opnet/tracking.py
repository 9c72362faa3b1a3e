"""Numbers, tensors and figures of a run, to the files that TensorBoard shows."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .errors import check_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 30  # of a histogram, as many as TensorBoard shows
SECONDS_BETWEEN_FLUSHES = 10  # the files are followed while they grow


class EventFiles:
    """Event files below `log_dir`, which is made. Every value belongs to a `step`, a whole number.

    ImportError where tensorboard is not installed, ValueError where `log_dir` cannot be written.
    """

    def __init__(self, log_dir: str | Path) -> None:
        directory = check_path("TensorBoard: log_dir", log_dir)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            said = "TensorBoard: tensorboard is not installed: pip install 'opnet[tensorboard]'"
            raise ImportError(said) from None
        try:
            self._writer = SummaryWriter(str(directory), flush_secs=SECONDS_BETWEEN_FLUSHES)
        except OSError as error:
            said = f"TensorBoard: {directory}: cannot be written: {error.strerror}"
            raise ValueError(said) from error

    def scalar(self, tag: str, value: float, step: int) -> None:
        self._writer.add_scalar(tag, value, step)

    def histogram(self, tag: str, tensor: Tensor, step: int) -> None:
        """How its elements are spread; those that are not finite are left out."""
        values = tensor[tensor.isfinite()].double().cpu()
        if len(values):
            low, high = (float(end) for end in values.aminmax())
            bins = BINS if low < high else 1
            found = {"min": low, "max": high, "num": len(values)}
            found |= {"sum": float(values.sum()), "sum_squares": float(values @ values)}
            limits = torch.linspace(low, high, bins + 1, dtype=values.dtype)[1:].tolist()
            counts = torch.histc(values, bins).tolist()
            self._writer.add_histogram_raw(
                tag, **found, bucket_limits=limits, bucket_counts=counts, global_step=step
            )

    def figure(self, tag: str, drawing: "Figure", step: int) -> None:
        import numpy as np
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas = FigureCanvasAgg(drawing)
        canvas.draw()
        image = np.asarray(canvas.buffer_rgba())[..., :3]
        self._writer.add_image(tag, image, step, dataformats="HWC")

    def close(self) -> None:
        """Whatever comes later goes into another file."""
        self._writer.close()
