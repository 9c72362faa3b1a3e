# `make moons` trains on the two moons, `make test` runs every check. Both set up .venv first.
PYTHON ?= python3
RUN = .venv/bin/python

.PHONY: moons test lint clean

moons: .venv/ready
	$(RUN) -m experiments.moons

test: .venv/ready lint
	OMP_NUM_THREADS=1 $(RUN) -m pytest

lint: .venv/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

.venv/ready: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	touch .venv/ready

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
