"""run.json beside a checkpoint: what a run was made of, and what came of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .out import write_whole
from .settings import Settings
from .task import Task

NAME = "run.json"
FORMAT, VERSION = "opnet run", 1


@dataclass
class Record:
    """The settings of a run, its task, and what is told besides: environment, scores, history."""

    settings: Settings
    task: Task | None
    more: dict[str, Any]

    def write(self, directory: Path) -> Path:
        content = {"format": FORMAT, "version": VERSION, "settings": self.settings.as_dict()}
        content |= {"task": None if self.task is None else self.task._asdict()}
        return write_whole(directory / NAME, json.dumps(content | self.more, indent=1) + "\n")


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
    if (version := content.get("version")) != VERSION:
        raise ValueError(f"{path}: version {version!r:.20}, this opnet reads {VERSION}")
    settings = Settings.of(content.get("settings"), given, str(path))
    more = {key: value for key, value in content.items() if key not in ("settings", "task")}
    return Record(settings, _task(content.get("task"), path), more)


def _task(told: Any, path: Path) -> Task | None:
    if told is None:
        return None
    fits = isinstance(told, dict) and told.keys() == {"columns", "classes"}
    lists = [part for part in told.values() if part is not None] if fits else [None]
    if not all(isinstance(x, list) and all(isinstance(n, str) for n in x) for x in lists):
        raise ValueError(f"{path}: task is {told!r:.60}, wanted columns and classes")
    return Task(**told)
