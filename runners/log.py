"""The book's log lines, and a progress bar where a person is watching."""

import sys
import time
from typing import Any

SECONDS_BEFORE_BAR = 0.5
SECONDS_BETWEEN_UPDATES = 0.1


class Log:
    """Lines for every `log_epochs`-th epoch and each new best dev score; nothing at all for 0.

    The bar (tqdm, when it is installed) stands on stderr if that is a terminal, from half a second
    on.
    """

    def __init__(self, num_epochs: int, log_epochs: int) -> None:
        self.num_epochs, self.log_epochs = num_epochs, log_epochs
        self.best_score = 0.0
        self._bar: Any = None
        self._started = time.monotonic()

    def epoch(self, epoch: int, train_loss: float, dev_score: float) -> None:
        if dev_score > self.best_score:
            was, self.best_score = self.best_score, dev_score
            change = f"{was:.5f} --> {dev_score:.5f}"
            self.line(f"[Evaluate] best accuracy performance has been updated: {change}")
        if self.log_epochs and epoch % self.log_epochs == 0:
            self.line(f"[Train] epoch: {epoch}/{self.num_epochs}, loss: {train_loss}")

    def kept(self, epoch: int | None, score: float, loss: float, keep: str) -> None:
        which = "none of this run" if epoch is None else f"{epoch}/{self.num_epochs}"
        self.line(f"[Train] kept epoch: {which}, dev score/loss: {score:.4f}/{loss:.4f} ({keep})")

    def line(self, text: str) -> None:
        if not self.log_epochs:
            return
        if self._bar is None:
            print(text)
        else:
            self._bar.write(text)

    def progress(self, epochs_done: int, train_loss: float) -> None:
        if self._bar is None and time.monotonic() - self._started >= SECONDS_BEFORE_BAR:
            self._bar = self._new_bar()
        if self._bar:
            self._bar.set_postfix(loss=f"{train_loss:.4f}", refresh=False)
            self._bar.update(epochs_done - self._bar.n)

    def close(self) -> None:
        if self._bar:
            self._bar.close()
            self._bar = None

    def _new_bar(self) -> Any:
        if not (self.log_epochs and sys.stderr is not None and sys.stderr.isatty()):
            return None
        try:
            from tqdm import tqdm
        except ImportError:
            return None
        return tqdm(
            total=self.num_epochs, unit="epoch", mininterval=SECONDS_BETWEEN_UPDATES, leave=False
        )
