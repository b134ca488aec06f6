# alwann-c: `make` lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint types docs fuzz soak bench test-exporters test-tflite test-netlists test-gpu bench-gpu gpu-tables bench-evolution reproduce clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "%-14s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || (echo "Python >= 3.11 is needed: make PYTHON=python3.11"; exit 1)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	for c in g++ clang++ c++ gcc clang cc; do command -v $$c >/dev/null && exit 0; done; $(BIN)/python -m pip install --quiet ziglang
	touch $(STAMP)

demo: $(STAMP) ## the main job on the shipped model, data, library and target
	$(BIN)/alwann-c demo -o demo-output

test: $(STAMP) lint types ## lint, types and the test suite, on all cores
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile

test-slow: $(STAMP) ## the tests that take minutes: a fault at every write, twenty deaths of a search
	$(BIN)/python -m pytest -m slow

docs: $(STAMP) ## the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

SECONDS ?= 60
fuzz: $(STAMP) ## coverage-guided fuzzing, SECONDS=60 for each reader of a file
	$(BIN)/python -m pip install --quiet -e '.[fuzz]'
	$(BIN)/python tools/fuzz.py --seconds $(SECONDS)
	$(BIN)/python tools/fuzz.py --total

MINUTES ?= 60
soak: $(STAMP) ## searches for MINUTES=60 and watches the memory
	$(BIN)/python tools/soak.py --minutes $(MINUTES)

lint: $(STAMP) ## ruff: format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP) ## mypy --strict
	$(BIN)/mypy

bench: $(STAMP) ## benchmarks of kernels and networks beside ONNX Runtime
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only --benchmark-disable-gc -s

test-exporters: $(STAMP) ## networks exported by PyTorch, and its own programs (installs PyTorch)
	$(BIN)/python -m pip install --quiet -e '.[torch]'
	$(BIN)/python -m pytest tests/exporters

test-tflite: $(STAMP) ## TensorFlow Lite models beside its interpreter (installs ai-edge-litert)
	$(BIN)/python -m pip install --quiet -e '.[tflite]' ai-edge-litert
	$(BIN)/python -m pytest tests/test_tflite_frontend.py tests/interpreters

test-netlists: $(STAMP) ## import of Verilog and BLIF through Yosys
	$(BIN)/python -m pip install --quiet -e '.[netlists]'
	$(BIN)/python -m pytest tests/targets/test_yosys.py

test-gpu: $(STAMP) ## GPU kernels through PoCL and nvcc, and on a GPU where there is one
	$(BIN)/python -m pip install --quiet -e '.[gpu]'
	$(BIN)/python -m pytest tests/gpu

bench-gpu: $(STAMP) ## GPU kernels timed on this machine's NVIDIA GPU
	@$(BIN)/python tools/bench_gpu.py

bench-evolution: $(STAMP) ## evaluations a second of the evolution of multipliers
	$(BIN)/python -m pip install --quiet -e '.[evolve]'
	$(BIN)/python tools/bench_evolution.py

gpu-tables: $(STAMP) ## registers, occupancy and bounds of docs/gpu.md (needs nvcc, no GPU)
	$(BIN)/python -m pip install --quiet -e '.[gpu]'
	$(BIN)/python tools/gpu_resources.py

reproduce: $(STAMP) ## the tables of the README (needs the files of docs/reproduce.md; takes hours)
	$(BIN)/python tools/reproduce.py

clean: ## removes the environment and what the demo wrote
	rm -rf $(VENV) demo-output build dist *.egg-info
