import pytest

from gtr.errors import GTRError
from gtr.networks import named
from gtr.networks.architectures import (
    CNN,
    GRU,
    LSTM,
    MLP,
    NatureCNN,
    ResNet,
    Transformer,
)

OWN = NatureCNN((8, 16, 16), (64,))


def test_names_stand_for_the_classes_in_their_own_sizes():
    assert {name: named.network(name, OWN) for name in named.names()} == {
        "mlp": MLP(),
        "cnn": CNN(),
        "nature-cnn": NatureCNN(),
        "impala-resnet": ResNet(),
        "gru": GRU(body=OWN),
        "lstm": LSTM(body=OWN),
        "transformer": Transformer(body=OWN),
    }


def test_a_memory_takes_the_place_of_a_memory():
    assert named.network("lstm", GRU(body=OWN)) == LSTM(body=OWN)


@pytest.mark.parametrize(
    ("name", "says"), [("gur", r"did you mean 'gru'\?"), ("x", "there is mlp, cnn, nature-cnn")]
)
def test_an_unknown_name_is_told_in_one_line(name, says):
    for ask in (named.describe, lambda name: named.network(name, OWN)):
        with pytest.raises(GTRError, match=says) as caught:
            ask(name)
        assert "\n" not in str(caught.value)
