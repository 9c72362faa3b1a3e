"""run.json beside a checkpoint: what a run was made of, and what came of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opnet.files import MANIFEST, write_whole

from .settings import Settings
from .table import Table
from .task import Task

NAME = "run.json"
FORMAT, VERSION = "opnet run", 1
DONE, STOPPED_EARLY = "done", "stopped early"  # how a run may end, else by an error


@dataclass
class Record:
    """The settings of a run, its task, and what is told besides: environment, scores, history."""

    settings: Settings
    task: Task
    more: dict[str, Any]

    def write(self, directory: Path) -> None:
        content = {"format": FORMAT, "version": VERSION, "settings": self.settings.as_dict()}
        content |= {"task": self.task._asdict()} | self.more
        write_whole(directory / NAME, f"{json.dumps(content, indent=1)}\n".encode())

    def begin(self, directory: Path, *, resume: bool = False) -> None:
        """Write it before the first epoch: weights that are there by now may be of another run."""
        path = directory / NAME
        its_own = resume and path.exists() and read_record(path, {}).has_weights(directory)
        self.more["weights_before"] = None if its_own else _weights(directory)
        self.write(directory)

    def has_weights(self, directory: Path) -> bool:
        """Whether the weights in the directory are of this run, and not of one before."""
        if self.more.get("ended") in (DONE, STOPPED_EARLY):
            return True
        return self.more.get("weights_before", "") != _weights(directory)

    def check_unchanged(self, table: Table) -> None:
        """ValueError for a file that is another than that of the run."""
        if table.sha256 != self.more.get("sha256"):
            mend = f"--data {self.settings.data} takes it as it is now"
            raise ValueError(f"{table.who}: has changed since the run; {mend}")


def _weights(directory: Path) -> str | None:
    """The sum of the manifest, which has the sums of all that is saved."""
    path = directory / MANIFEST
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def read_record(path: Path, given: Mapping[str, Any]) -> Record:
    """A run.json, with the settings that were `given` over its own. ValueError if it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ValueError(f"{path}: {why}, wanted what `train` writes") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{path}: is damaged, wanted JSON") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path}: is no run of opnet, wanted format {FORMAT!r}")
    version = content.get("version")
    if isinstance(version, bool) or version != VERSION:
        raise ValueError(f"{path}: version {version!r:.20}, this opnet reads {VERSION}")
    settings = Settings.of(content.get("settings"), given, str(path))
    more = {key: value for key, value in content.items() if key not in ("settings", "task")}
    return Record(settings, _task(content.get("task"), path), more)


def _task(told: Any, path: Path) -> Task:
    try:
        columns, classes = told["columns"], told["classes"]
        fits = _are_names(columns, 1) and (classes is None or _are_names(classes, 2))
    except (KeyError, TypeError):
        fits = False
    if not fits:
        raise ValueError(f"{path}: task is {told!r:.60}, wanted columns and classes")
    return Task(columns, classes)


def _are_names(names: Any, least: int) -> bool:
    """Whether these are strings in a list, no two of them alike."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return False
    return len(set(names)) == len(names) >= least
