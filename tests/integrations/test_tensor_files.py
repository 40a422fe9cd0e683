"""What a PyTorch trainer keeps, written to a file and read back."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from gtr.errors import GTRError
from gtr.integrations import tensor_files

KINDS = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
tensors = st.builds(
    lambda shape, kind: torch.randint(2, shape).to(kind),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(KINDS),
)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
states = st.recursive(
    tensors | plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(0, 9), inner, max_size=3)
    ),
    max_leaves=8,
)


def same(one, other) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@given(states)
def test_what_was_saved_is_read(tmp_path_factory, state):
    path = tmp_path_factory.mktemp("state") / "state.safetensors"
    tensor_files.save(path, state)
    assert same(tensor_files.load(path), state)


def test_an_optimizer_and_tied_weights_go_on_alike_and_are_written_once(tmp_path):
    torch.manual_seed(0)
    embedding, head = torch.nn.Embedding(50, 40), torch.nn.Linear(40, 50, bias=False)
    head.weight = embedding.weight
    optimizer = torch.optim.Adam(embedding.parameters(), lr=0.1)
    state = {"in": embedding.state_dict(), "out": head.state_dict()}

    def descend():
        optimizer.zero_grad()
        head(embedding(torch.arange(50))).square().mean().backward()
        optimizer.step()

    descend()
    tensor_files.save(tmp_path / "tied", state)
    assert (tmp_path / "tied").stat().st_size < 1.5 * embedding.weight.nbytes
    tensor_files.save(tmp_path / "all", {**state, "optimizer": optimizer.state_dict()})
    descend()
    expected = embedding.weight.detach().clone()

    kept = tensor_files.load(tmp_path / "all")
    embedding.load_state_dict(kept["in"])
    head.load_state_dict(kept["out"])
    optimizer.load_state_dict(kept["optimizer"])
    descend()
    assert torch.equal(embedding.weight, expected)


def test_parts_of_one_memory_are_kept_apart(tmp_path):
    whole = torch.arange(10.0)
    tensor_files.save(tmp_path / "parts", [whole[:4], whole[2:6], whole.view(2, 5).T])
    assert same(tensor_files.load(tmp_path / "parts"), [whole[:4], whole[2:6], whole.view(2, 5).T])


@pytest.mark.parametrize("state", [{1.5: 0}, {"x": object()}, [{1, 2}]])
def test_what_cannot_be_saved_leaves_what_was_there(tmp_path, state):
    path = tmp_path / "state"
    tensor_files.save(path, "earlier")
    with pytest.raises(TypeError):
        tensor_files.save(path, state)
    assert tensor_files.load(path) == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_or_foreign_file_is_refused_in_one_line(tmp_path):
    path = tmp_path / "state"
    tensor_files.save(path, {"x": torch.ones(100)})
    content = path.read_bytes()
    foreign = tmp_path / "foreign"
    save_file({"x": torch.ones(2)}, foreign)
    twisted = tmp_path / "twisted"
    save_file({"0": torch.ones(2)}, twisted, {"state": json.dumps({"tensor": "7"})})
    path.write_bytes(content[:-1])
    for one in (path, foreign, twisted, tmp_path / "missing"):
        with pytest.raises(GTRError, match="begin anew") as caught:
            tensor_files.load(one)
        assert "\n" not in str(caught.value)


def test_a_directory_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GTRError, match="cannot write"):
        tensor_files.save(tmp_path / "file" / "state", {"x": torch.ones(1)})
