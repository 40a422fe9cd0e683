from tests.learner.devices import python_on_devices

SHARED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, PartitionSpec as P
from gtr.learner.parallel import side_by_side, split

def on_devices(function, *given):
    mesh = Mesh(np.array(jax.devices()), ("devices",))
    return jax.jit(jax.shard_map(
        function, mesh=mesh, in_specs=P(), out_specs=P(), check_vma=False
    ))(*given)

def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
        assert x.dtype == y.dtype, (x.dtype, y.dtype)
        np.testing.assert_array_equal(x, y)

x = jnp.arange(24.0).reshape(4, 6)
big = jnp.arange(2.0**16).reshape(2, -1)

# tasks with results of all kinds, small and large, and more or fewer of them than devices
tasks = (
    lambda: {"a": x + 1, "b": jnp.int32(3), "empty": jnp.zeros((2, 0))},
    lambda: (x > 3, big * 2, None),
    lambda: x.sum(),
)
for count in (1, 2, 3):
    same(
        on_devices(lambda: side_by_side("devices", *tasks[:count])),
        jax.jit(lambda: side_by_side(None, *tasks[:count]))(),
    )

# every device does its part, of one dimension or another
def function(rows, columns, keys):
    assert rows.shape == (4 // len(jax.devices()), 6)
    noise = jax.vmap(lambda key: jax.random.uniform(key))(keys)
    return {"sums": rows.sum(1) + noise, "twice": 2 * rows}, columns > 7

keys = jax.random.split(jax.random.key(0), 4)
apart = on_devices(
    lambda *given: split("devices", function, (0, 1, 0), (0, 1))(*given), x, x.T, keys
)
# what does not divide is done by all
(whole,) = on_devices(split("devices", lambda x: (x + x.shape[0],), (0,), (0,)), x[:3])
same(whole, x[:3] + 3)

devices, jax.devices = jax.devices, lambda: [None]
same(apart, jax.jit(split(None, function, (0, 1, 0), (0, 1)))(x, x.T, keys))
print(len(devices()), "devices agree with one")
"""


def test_shared_work_is_the_work_of_one_device():
    for devices in (2, 4):
        told = python_on_devices(devices, SHARED)
        assert told.strip() == f"{devices} devices agree with one"
