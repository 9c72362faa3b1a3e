"""Ranks: processes that train one model together, each on rows of its own.

All of torch.distributed is in this file. A launcher such as torchrun starts the processes and tells
each who it is by its environment; they talk through gloo on CPUs, through NCCL on GPUs.
"""

import atexit
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

ATTEMPT = "TORCHELASTIC_RESTART_COUNT"  # torchrun's store still has what ended ranks have said
LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what a launcher sets
TIMEOUT, SECONDS = "OPNET_TIMEOUT", 60.0  # its variable, and how long a rank waits for the others
SHORTEST, LONGEST = 1e-3, 1e9  # what torch can count, in milliseconds and in nanoseconds
GRACE = 1.0  # seconds: in which a rank that lives has said what it knows

PRIME = 2**31 - 1  # marks below it can be summed over ranks in doubles, exactly
STORE_GONE = "the launcher, or rank 0 if that held the store, has ended, or this rank was late"
_runs = itertools.count(1)


class RankError(RuntimeError):
    """Another rank has ended, or does not answer: which one, and why."""


class Ranks:
    """`count` processes, of which this one is number `rank`; one alone talks to nobody.

    What they say to each other they all say in the same order. An error of one ends all: RankError.
    """

    def __init__(self, rank: int = 0, count: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.count, self.device = rank, count, device
        self.talks, self.run = 0, 0
        self._store: Any = None

    @property
    def several(self) -> bool:
        return self.count > 1

    @property
    def first(self) -> bool:
        """Whether this is the one that logs, draws and writes."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """Those of `count` rows that are this rank's: consecutive, as even as can be."""
        return slice(count * self.rank // self.count, count * (self.rank + 1) // self.count)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all ranks, in place; each rank has the same bits."""
        if self.several:
            self._talk(dist.all_reduce, tensor)
        return tensor

    def any(self, *here: bool) -> list[bool]:
        """For each question whether the answer is yes on some rank."""
        if not self.several:
            return list(here)
        yes = torch.tensor(here, dtype=torch.float32, device=self.device)
        return [bool(votes) for votes in self.sum(yes).tolist()]

    def gather(self, thing: Any) -> list[Any]:
        """What each rank has given, by rank: any object that can be pickled."""
        things = [thing] * self.count
        if self.several:
            self._talk(dist.all_gather_object, things, thing)
        return things

    def from_first(self, thing: Any) -> Any:
        """What rank 0 has given."""
        things = [thing]
        if self.several:
            self._talk(dist.broadcast_object_list, things, 0, device=self.device)
        return things[0]

    @torch.no_grad()
    def copy_first(self, tensors: list[Tensor]) -> None:
        """Into the tensors of all ranks those of rank 0."""
        for tensor in tensors if self.several else ():
            whole = tensor.detach().clone(memory_format=torch.contiguous_format)
            self._talk(dist.broadcast, whole, 0)
            tensor.copy_(whole)

    @contextmanager
    def one_fate(self) -> Iterator[None]:
        """Inside, an error that only some ranks meet is told to the others, who then end too.

        One that all meet at the same point leaves them as they are. Afterwards all have come here.
        """
        if not self.several:
            yield
            return
        self.run = next(_runs)
        self._store = dist.distributed_c10d._get_default_store()
        try:
            yield
            self.gather(None)
        except RankError:
            if self.first:  # it may hold the store, in which the others are still reading
                self._all_heard()
            raise
        except BaseException as error:
            self._leave(error)
            raise

    def _talk(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        self.talks += 1
        try:
            call(*arguments, **options)
        except RuntimeError as error:
            raise RankError(self._loss(error)) from error

    def _leave(self, error: BaseException) -> None:
        """Say what has happened here; who waits for this rank is told when the group closes."""
        what = ": ".join(filter(None, [type(error).__name__, " ".join(str(error).split())]))
        self._say(f"rank {self.rank}: {what}"[:500])
        heard = self._all_heard()
        if len(heard) < self.count or len({talks for talks, _ in heard.values()}) > 1:
            _close()
            self._all_heard()  # who holds the store waits

    def _loss(self, error: RuntimeError) -> str:
        """Which ranks have ended, and what they have said, in one line."""
        self._say("")
        heard = self._heard(GRACE, lambda words: any(text for _, text in words.values()))
        causes = list(dict.fromkeys(text for _, (_, text) in sorted(heard.items()) if text))
        if not heard:
            causes = [STORE_GONE]
        elif not causes:
            causes = [self._unsaid(heard, error)]
            self._say(causes[0])  # for who is late itself
        return f"train: rank {self.rank} of {self.count} cannot go on: {'; '.join(causes)}"

    def _unsaid(self, heard: dict[int, tuple[str, str]], error: RuntimeError) -> str:
        """What is to be thought where nobody says why: one is silent, or all do other things."""
        silent = [str(rank) for rank in range(self.count) if rank not in {*heard, self.rank}]
        if silent:
            who = f"rank {silent[0]}" if len(silent) == 1 else f"one of ranks {', '.join(silent)}"
            late = _is_late(error)
            return f"{who} {'has not answered in time' if late else 'has ended without a word'}"
        said = " ".join(str(error).split())[:200]
        return f"no rank has said why, wanted the same calls on each: {said}"

    def _say(self, text: str) -> None:
        """To whom it concerns: how often this rank has talked, and why it ends."""
        try:
            self._store.set(self._place(self.rank), f"{self.talks} {text}")
        except RuntimeError:  # who held the store is gone
            return

    def _heard(self, seconds: float, enough: Callable[[Any], bool]) -> dict[int, tuple[str, str]]:
        """What the ranks have said by now, or in some seconds, by rank."""
        words: dict[int, tuple[str, str]] = {}
        end = time.monotonic() + seconds
        try:
            while not enough(words) and time.monotonic() < end:
                for rank in range(self.count):
                    if rank not in words and self._store.check([self._place(rank)]):
                        talks, _, text = self._store.get(self._place(rank)).decode().partition(" ")
                        words[rank] = talks, text
                time.sleep(0.01)
        except RuntimeError:
            pass
        return words

    def _all_heard(self) -> dict[int, tuple[str, str]]:
        return self._heard(GRACE, lambda words: len(words) == self.count)

    def _place(self, rank: int) -> str:
        return f"opnet/{self.run}/{rank}"


def mark_of(tensors: list[Tensor]) -> int:
    """All bits, as the sum of their words modulo a prime: one in 2**31 others have the same."""
    total = 0
    for tensor in tensors:
        word = torch.uint8 if tensor.element_size() % 4 else torch.int32
        total += int(tensor.detach().contiguous().view(-1).view(word).sum())
    return total % PRIME


def rank() -> int:
    """The number of this process among those that train together, from 0; 0 of one alone.

    ValueError for a launcher's variables that cannot be meant.
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank()
    return launched()[0]


def joined(device: torch.device) -> Ranks:
    """The ranks of the group that is up, or that the environment of a launcher asks for.

    Without either this process is alone. A group is started once, for models on `device`, and stays
    up to the end. RuntimeError where the others do not come in time, ValueError for variables.
    """
    if not dist.is_available():
        return Ranks()
    if not dist.is_initialized():
        number, count = launched()
        if count == 1:
            return Ranks()
        _open(number, count, device)
    return Ranks(dist.get_rank(), dist.get_world_size(), device)


def launched() -> tuple[int, int]:
    """Which rank of how many this process is by the launcher's variables; (0, 1) without them.

    ValueError for those that cannot be meant, or where of several ranks some are not set.
    """
    count = _number("WORLD_SIZE", 1) if os.environ.get("WORLD_SIZE") else 1
    if count == 1:
        if os.environ.get("RANK") and _number("RANK", 0):
            raise ValueError(f"RANK is {os.environ['RANK']}, wanted a WORLD_SIZE above it")
        return 0, 1
    if missing := [name for name in LAUNCHED if not os.environ.get(name)]:
        raise ValueError(f"WORLD_SIZE is {count}, wanted {' and '.join(missing)} to be set too")
    _number("MASTER_PORT", 1, 65535)
    return _number("RANK", 0, count - 1), count


def _number(name: str, lowest: int, highest: int | None = None) -> int:
    text = os.environ[name]
    try:
        number = int(text)
    except ValueError:
        number = lowest - 1
    if number < lowest or (highest is not None and number > highest):
        upwards = "" if highest is None else f" to {highest}"
        raise ValueError(f"{name} is {text!r:.80}, wanted a whole number from {lowest}{upwards}")
    return number


def _open(rank: int, count: int, device: torch.device) -> None:
    who, seconds = f"rank {rank} of {count}", _seconds()
    backend = "nccl" if device.type == "cuda" else "gloo"
    wait = timedelta(seconds=seconds)
    store: Any = None
    try:
        store, *_ = next(dist.rendezvous("env://", timeout=wait if rank == 0 else wait / 2))
        store.set_timeout(wait)  # to find it, torch tries twice
        store = dist.PrefixStore(f"opnet/{os.environ.get(ATTEMPT, '0')}", store)
        store.set(_came(rank), "")
        dist.init_process_group(backend, timeout=wait, store=store, rank=rank, world_size=count)
    except RuntimeError as error:
        said = " ".join(str(error).split())[:200]
        why = f"{_absent(store, rank, count)}: {said}" if _is_late(error) else said
        raise RuntimeError(f"{who}: no group with the others in {seconds:g} s: {why}") from error
    atexit.register(_close)


def _absent(store: Any, rank: int, count: int) -> str:
    """Who has not come, by the store; of two it is the other one where there is no store either."""
    absent = [other for other in range(count) if other != rank]
    try:
        absent = [other for other in absent if not (store and store.check([_came(other)]))]
    except RuntimeError:  # who held the store is gone
        store = None
    if len(absent) > 1 and not store:
        return "some are not there"
    return f"not there: {', '.join(f'rank {other}' for other in absent) or 'one that had come'}"


def _came(rank: int) -> str:
    return f"came/{rank}"


def _is_late(error: RuntimeError) -> bool:
    return any(words in str(error).lower() for words in ("timed out", "timeout"))


def _seconds() -> float:
    text = os.environ.get(TIMEOUT) or str(SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not SHORTEST <= seconds <= LONGEST:
        wanted = f"wanted seconds from {SHORTEST:g} to {LONGEST:g}"
        raise ValueError(f"{TIMEOUT} is {text!r:.80}, {wanted}")
    return seconds


def _close() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
