# `make moons` trains on the two moons, `make test` runs every check, `make docs` builds the pages.
# All set up .venv first.
PYTHON ?= python3
RUN = .venv/bin/python

.PHONY: moons test lint docs clean

moons: .venv/ready
	$(RUN) -m experiments.moons

# a file's tests stay in one process: what its fixtures have trained or built is shared
test: .venv/ready lint
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: .venv/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

# figures, ledger, pages: build/docs/index.html
docs: .venv/ready
	mkdir -p build
	OMP_NUM_THREADS=1 $(RUN) -m experiments all --quiet --device cpu --out docs/figures \
		--ledger build/ledger_table.md
	mv build/ledger_table.md docs/ledger_table.md
	$(RUN) -m sphinx -W --keep-going -q -b html docs build/docs

.venv/ready: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	touch .venv/ready

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
