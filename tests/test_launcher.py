"""How ranks find each other: by the variables of a launcher, or in vain."""

import re

import pytest
import torch
from ranks import on_ranks

from opnet.parallel import joined, rank

IN_VAIN = 2.0  # seconds
MARGIN = 10.0  # for starting and ending on a busy machine


def joined_on(number):
    return joined(torch.device("cpu")).count if rank() == number else rank()


def test_ranks_that_do_not_come_are_waited_for_in_vain_for_as_long_as_was_said():
    for here, away in ((0, 1), (1, 0)):
        ends = on_ranks(2, joined_on, here, seconds=IN_VAIN)
        assert (ends[away].code, ends[away].result) == (0, away)
        assert ends[here].code == 1
        assert ends[here].error.startswith(
            f"RuntimeError: rank {here} of 2: no group with the others in {IN_VAIN:g} s: "
            f"not there: rank {away}: "
        )
        assert "\n" not in ends[here].error
        assert ends[here].seconds < IN_VAIN + MARGIN


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("RANK", "one", "RANK is 'one', wanted a whole number from 0 to 1"),
        ("RANK", "2", "RANK is '2', wanted a whole number from 0 to 1"),
        ("RANK", "", "WORLD_SIZE is 2, wanted RANK to be set too"),
        ("MASTER_ADDR", "", "WORLD_SIZE is 2, wanted MASTER_ADDR to be set too"),
        ("MASTER_PORT", "abc", "MASTER_PORT is 'abc', wanted a whole number from 1 to 65535"),
        ("WORLD_SIZE", "-3", "WORLD_SIZE is '-3', wanted a whole number from 1"),
        ("WORLD_SIZE", "0", "WORLD_SIZE is '0', wanted a whole number from 1"),
        ("WORLD_SIZE", "", "RANK is 1, wanted a WORLD_SIZE above it"),
        ("WORLD_SIZE", "1", "RANK is 1, wanted a WORLD_SIZE above it"),
        *(
            ("OPNET_TIMEOUT", value, f"OPNET_TIMEOUT is {value!r}, wanted seconds from 0.001 to")
            for value in ("0", "soon", "nan", "inf", "1e20")
        ),
    ],
)
def test_the_variables_of_a_launcher_are_looked_at(monkeypatch, name, value, said):
    launched = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for key, text in (launched | {name: value}).items():
        monkeypatch.setenv(key, text)
    with pytest.raises(ValueError, match=re.escape(said)):
        joined(torch.device("cpu"))


@pytest.mark.parametrize("count", ["", "1"])
@pytest.mark.parametrize("number", ["", "0"])
def test_a_launcher_of_one_process_starts_no_group(monkeypatch, count, number):
    monkeypatch.setenv("WORLD_SIZE", count)
    monkeypatch.setenv("RANK", number)
    assert rank() == 0
    assert not joined(torch.device("cpu")).several
