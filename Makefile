# `make help` lists what there is. Settings, on the command line or in the environment:
#   PYTHON       the Python that .venv is made of, 3.10 or newer             (python3)
#   TORCH        what pip installs as PyTorch       (torch of resource/constraints.txt, CPU or CUDA)
#   PIP_ARGS     added to each pip install, e.g. an index of your own
#   PYTEST_ARGS  added to pytest's, e.g. '-n 0 -x test/nn'
#   BAG          what `make demo` plays instead of a rendered sequence
PYTHON ?= python3
TORCH ?=
PIP_ARGS ?=
BAG ?=

# A process a core, which a file's tests stay in; more than four are of no use to the longest files.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

VENV := .venv
STAMP := $(VENV)/.complete
export PYTHON TORCH PIP_ARGS VENV

.DEFAULT_GOAL := help
.PHONY: help venv demo test lint clean

help: ## show this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

venv: $(STAMP) ## make .venv with everything in it; again only when what it is made of changes

$(STAMP): pyproject.toml setup.py package.xml CMakeLists.txt $(wildcard msg/*.msg resource/*)
	@bash resource/make_venv.sh
	@touch $@

test: $(STAMP) ## run the tests
	$(VENV)/bin/python -m pytest -q --durations=10 $(SIDE_BY_SIDE) $(PYTEST_ARGS)

lint: $(STAMP) ## check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

demo: $(STAMP) ## from a camera to metres: leaves pictures, a bag and a table in demo/
	@BAG='$(BAG)' bash resource/demo.sh

clean: ## remove .venv and whatever was built
	rm -rf $(VENV) build install log dist demo *.egg-info .mypy_cache .pytest_cache .ruff_cache
	rm -rf metric_depth_ros/msg metric_depth_ros/*.so
	find metric_depth_ros test launch resource -name __pycache__ -prune -exec rm -rf {} +
