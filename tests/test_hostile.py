"""Files that were made to harm: what they may cost, and what of them comes into an error."""

import io

import pytest
import torch

from opnet import CheckpointError, Linear, Sequential, checkpoint, load
from opnet.checkpoint import manifest

ROW = {"W": torch.zeros(2, 1), "b": torch.zeros(1, 1)}
LAYER = {"class": "opnet.Linear", "arguments": {"input_size": 2, "output_size": 1, "name": "k"}}


def crafted(directory, tensors, layers=(LAYER,), kinds=None):
    stream = io.BytesIO()
    torch.save(tensors, stream)
    entry = manifest.entry(stream.getvalue(), tensors)
    entry = entry._replace(tensors=entry.tensors | (kinds or {}))
    about = {"model": {"class": "opnet.Sequential", "arguments": {}, "layers": list(layers)}}
    text = manifest.packed(manifest.Manifest(1, {"k.pdparams": entry}, about))
    (directory / "k.pdparams").write_bytes(stream.getvalue())
    (directory / "manifest.json").write_bytes(text)
    return directory


def sized(rows, columns):
    return LAYER | {"arguments": {"input_size": rows, "output_size": columns, "name": "k"}}


def test_views_of_one_storage_count_once(tmp_path):
    base = torch.zeros(2**16)
    views = {f"v{i}": base[:] for i in range(2000)} | ROW
    with pytest.raises(CheckpointError, match="take more than") as error:
        load(crafted(tmp_path, views, [sized(3000, 3000)]))
    assert len(str(error.value)) < 500


def test_a_model_of_too_many_layers_is_not_begun(tmp_path):
    layers = [LAYER, *[{"class": "opnet.Logistic", "arguments": {}}] * 10_000]
    with pytest.raises(CheckpointError, match="describes more than 10000 layers; make it and use"):
        load(crafted(tmp_path, ROW, layers))
    assert len(load(crafted(tmp_path, ROW, layers[:-1])).layers) == 10_000


RAW = ["a\nb", "\x1b[31mred", "\u202eright", "\ud800", "x" * 10**4, "\x85", "\0"]


def one_line(error):
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 1500


@pytest.mark.parametrize("raw", RAW, ids=lambda raw: ascii(raw[:9]))
def test_what_a_file_names_comes_into_an_error_in_plain_letters(raw, tmp_path):
    tensors = {raw.encode(errors="replace").decode(): torch.zeros(2, dtype=torch.int16)}
    with pytest.raises(CheckpointError) as error:  # a key, and its kind
        load(crafted(tmp_path, tensors, kinds=dict.fromkeys(tensors, raw)))
    one_line(error)
    with pytest.raises(CheckpointError) as error:  # a reason
        load(crafted(tmp_path, ROW, [{"class": "opnet.Linear", "arguments": None, "why": raw}]))
    one_line(error)
    with pytest.raises(CheckpointError) as error:  # an argument
        load(crafted(tmp_path, ROW, [LAYER | {"arguments": {raw: 3}}]))
    one_line(error)


@pytest.mark.parametrize(
    "raw", [raw for raw in RAW if raw != "\ud800"], ids=lambda raw: ascii(raw[:9])
)
def test_what_a_whole_net_names_comes_into_an_error_in_plain_letters(raw, tmp_path):
    for flat in ({f"{raw}.weight": torch.zeros(2, 1)}, {f"k.{raw}": torch.zeros(2, 1)}):
        torch.save(flat, tmp_path / "net.pt")
        with pytest.raises(CheckpointError) as error:
            checkpoint.load(tmp_path / "net.pt", Sequential(Linear(2, 1, "k")))
        one_line(error)


def test_of_many_faults_the_first_are_told(tmp_path):
    kinds = {f"v{i}": "float32 [9]" for i in range(1000)}
    tensors = {key: torch.zeros(2) for key in kinds}
    with pytest.raises(CheckpointError, match=r"; 995 more$") as error:
        load(crafted(tmp_path, tensors, kinds=kinds))
    one_line(error)
