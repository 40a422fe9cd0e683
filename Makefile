# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= demo

.PHONY: demo test test-slow lint types bench clean

demo: $(VENV)/.installed
	$(BIN)/gtr compare corner-switch --methods ppo gtr --seeds 10 --out $(DEMO)/corner-switch
	$(BIN)/gtr compare cartpole-offset --methods ppo gtr --seeds 5 --out $(DEMO)/cartpole-offset

test: $(VENV)/.test
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/pyright

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/speed/run.py

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable .
	touch $@

$(VENV)/.test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) $(DEMO)
