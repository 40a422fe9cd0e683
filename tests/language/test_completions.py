import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from gtr.errors import GTRError
from gtr.language import completions
from gtr.language.completions import log_probs, write
from gtr.language.prompts import Prompts, encode
from tests import tiny_llama

HERE = torch.device("cpu")
BEGINNING = "1+1=2\n"
QUESTIONS = ["3+4=", "12+34=", "7="]


def prompts(beginning: str = BEGINNING) -> Prompts:
    return encode(tiny_llama.tokenizer(), [beginning + q for q in QUESTIONS], HERE)


def in_full(model: torch.nn.Module, texts: list[str], tokens: Tensor, divisor: float) -> Tensor:
    """Each sequence by itself, without padding or cache: (Q, G, T)."""
    rows = []
    for text, group in zip(texts, tokens, strict=True):
        own = tiny_llama.tokenizer()(text, return_tensors="pt").input_ids[0]
        for completion in group:
            logits = model(torch.cat([own, completion])[None]).logits[0, len(own) - 1 : -1]
            said = (logits / divisor).log_softmax(-1)
            rows.append(said.gather(-1, completion[:, None])[:, 0])
    return torch.stack(rows).view(tokens.shape)


def test_prompts_are_divided_where_they_begin_to_differ():
    found = prompts()
    tokens = tiny_llama.tokenizer()
    assert tokens.decode(found.shared).replace(" ", "") == BEGINNING
    assert found.lengths.tolist() == [4, 6, 2]
    for own, length, question in zip(found.own, found.lengths, QUESTIONS, strict=True):
        assert tokens.decode(own[:length]).replace(" ", "") == question


def test_of_equal_prompts_one_token_each_is_their_own():
    found = encode(tiny_llama.tokenizer(), ["1+2="] * 3, HERE)
    assert len(found.shared) == 3
    assert found.lengths.tolist() == [1, 1, 1]


def test_an_empty_prompt_is_refused():
    with pytest.raises(GTRError, match="empty"):
        encode(tiny_llama.tokenizer(), ["1", ""], HERE)


def gpt2() -> torch.nn.Module:
    """A model whose positions are learned."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=18, n_positions=64, n_embd=16, n_layer=2, n_head=2)
    return GPT2LMHeadModel(config).eval()


def eager() -> torch.nn.Module:
    """A model whose attention is written out."""
    model = tiny_llama.model()
    model.set_attn_implementation("eager")
    return model


@pytest.mark.parametrize("build", [tiny_llama.model, eager, gpt2])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize(("length", "row"), [(1, 2048), (4, 2048), (4, 12), (4, 1)])
@pytest.mark.parametrize("beginning", [BEGINNING, ""])
def test_values_and_gradients_are_those_of_reading_each_sequence_in_full(
    monkeypatch, beginning, length, row, temperature, build
):
    monkeypatch.setattr(completions, "_ROW", row)
    tokens = torch.randint(2, 18, (3, 2, length), generator=torch.Generator().manual_seed(0))
    weights = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(1))
    found = []
    for way in ("tree", "full"):
        model = build().double()
        if way == "tree":
            said = log_probs(model, prompts(beginning), tokens, temperature)
        else:
            said = in_full(model, [beginning + q for q in QUESTIONS], tokens, temperature)
        (said * weights).sum().backward()
        found.append([said.detach(), *[p.grad for p in model.parameters()]])
    for tree, full in zip(*found, strict=True):
        # Root mean squares and written-out attention are float32's, whatever the weights are.
        torch.testing.assert_close(tree, full, rtol=1e-4, atol=1e-4)


def test_what_is_written_has_the_probabilities_that_it_is_said_to_have():
    model = tiny_llama.model()
    written = write(
        model,
        prompts(),
        each=5,
        longest=4,
        ends=[1, 17],
        generator=torch.Generator().manual_seed(0),
    )
    assert written.tokens.shape[:2] == (3, 5)
    with torch.no_grad():
        read = log_probs(model, prompts(), written.tokens)
    torch.testing.assert_close(written.log_probs[written.mask], read[written.mask])
    assert (written.entropies[written.mask] > 0).all()
    for tokens, mask in zip(written.tokens.flatten(0, 1), written.mask.flatten(0, 1), strict=True):
        counted = tokens[mask].tolist()
        ended = [i for i, token in enumerate(tokens.tolist()) if token in (1, 17)]
        assert len(counted) == (ended[0] + 1 if ended else len(tokens))
        assert mask[: len(counted)].all()


def test_the_most_likely_answer_is_transformers_own():
    model = tiny_llama.model().eval()
    tokens = tiny_llama.tokenizer()
    written = write(model, prompts(), each=1, longest=4, ends=[], temperature=0.0)
    texts = tokens([BEGINNING + q for q in QUESTIONS], return_tensors="pt", padding=True)
    model.generation_config.eos_token_id = None
    theirs = model.generate(**texts, max_new_tokens=4, do_sample=False, pad_token_id=0)
    assert torch.equal(written.tokens[:, 0], theirs[:, -4:])


def test_draws_follow_the_probabilities():
    model = tiny_llama.model()
    asked = prompts()
    written = write(
        model, asked, each=4000, longest=1, ends=[], generator=torch.Generator().manual_seed(0)
    )
    every = torch.arange(18).expand(3, 18)[..., None]
    with torch.no_grad():
        chances = log_probs(model, asked, every)[..., 0].exp()
    shares = torch.stack([torch.bincount(row, minlength=18) for row in written.tokens[..., 0]])
    torch.testing.assert_close(shares / 4000, chances, rtol=0, atol=0.03)
    entropy = -(chances * chances.log()).sum(-1)
    torch.testing.assert_close(written.entropies[:, 0, 0], entropy)
