"""Sets of files under manifests of any kind, and under several writers and readers at once."""

import contextlib
import json
import threading

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opnet import CheckpointError, Model_MLP_L2, checkpoint, load
from opnet.checkpoint import manifest
from opnet.describe import description
from opnet.walk import state

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def model_of(number):
    model = Model_MLP_L2(2, 5, 1)
    for tensor in state(model):
        tensor.fill_(number)
    return model


def numbers_in(model):
    return {number for tensor in state(model) for number in tensor.flatten().tolist()}


def saved(directory, number):
    model = model_of(number)
    checkpoint.save(directory, checkpoint.layers_of(model), about={"model": description(model)})


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("set")
    saved(directory, 1.0)
    return directory, json.loads((directory / "manifest.json").read_text())


def places(content, path=()):
    """Every place in a JSON value, as the keys that lead to it."""
    yield path
    for key, value in content.items() if isinstance(content, dict) else ():
        yield from places(value, (*path, key))


def put(content, path, value):
    if not path:
        return value
    for key in path[:-1]:
        content = content[key]
    content[path[-1]] = value
    return None


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), value=ANY, signed=st.booleans())
def test_a_changed_manifest_gives_the_whole_set_or_an_error(directory, data, value, signed):
    where, original = directory
    content = json.loads(json.dumps(original))
    content.pop("sha256")
    changed = put(content, data.draw(st.sampled_from(list(places(content)))), value)
    content = content if changed is None else changed
    if signed and isinstance(content, dict):
        content["sha256"] = manifest._sum(content)
    (where / "manifest.json").write_text(json.dumps(content))
    model = model_of(2.0)
    for read in (lambda: load(where), lambda: [checkpoint.load(where, model), model][1]):
        with contextlib.suppress(CheckpointError):
            assert numbers_in(read()) == {1.0}
    assert numbers_in(model) in ({1.0}, {2.0})


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.binary(max_size=64) | ANY.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_for_a_manifest_are_refused(directory, text):
    where, _ = directory
    (where / "manifest.json").write_bytes(text)
    files = {path: path.read_bytes() for path in where.glob("*.pdparams")}
    with pytest.raises(CheckpointError, match=r"manifest\.json: "):
        load(where)
    with pytest.raises(CheckpointError, match=r"manifest\.json: "):
        saved(where, 3.0)
    assert {path: path.read_bytes() for path in files} == files


def test_writers_side_by_side_and_a_reader_see_whole_sets_only(tmp_path):
    saved(tmp_path, 0.0)
    done, failures = threading.Event(), []

    def write(first):
        try:
            for number in range(first, first + 20):
                saved(tmp_path, float(number))
        except Exception as error:
            failures.append(error)

    def read():
        while not done.is_set():
            try:
                numbers = torch.cat([t.flatten() for t in state(load(tmp_path))]).unique()
                assert len(numbers) == 1
            except Exception as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(first,)) for first in (100, 200)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert not failures
    assert float(load(tmp_path).fc1.params["W"][0, 0]) in (119.0, 219.0)
    assert not list(tmp_path.glob("*.new"))
