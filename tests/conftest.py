"""What all tests share: hypothesis without surprises, and one cache of compiled programs."""

import atexit
import os
import shutil
import signal
import tempfile

import hypothesis

# Before JAX is imported: it reads the variable then. Subprocesses inherit it.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _cache = tempfile.mkdtemp(prefix="gtr-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache
    atexit.register(shutil.rmtree, _cache, ignore_errors=True)

hypothesis.settings.register_profile(
    "gtr", derandomize=True, deadline=None, database=None, max_examples=25
)
hypothesis.settings.load_profile("gtr")

# A shell has jobs in the background ignore Ctrl-C, and what they start inherits it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
