# Everything runs in .venv, which is made and filled on first use. VENV=path uses another.
VENV ?= .venv
BIN := $(VENV)/bin
DEBIAN := chromium bubblewrap fontconfig tesseract-ocr tesseract-ocr-chi-sim \
	$(shell grep -o 'package = "[^"]*' synthdog/fonts.toml | cut -d'"' -f2 | sort -u)

.PHONY: test check lint types layers fuzz soak lock audit sbom docs bench-gpu debian
test: debian $(VENV)/ready
	$(BIN)/pytest -n auto --maxprocesses=8 --dist loadscope --no-loadscope-reorder

check: $(VENV)/ready lint types layers test

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready
	$(BIN)/mypy

layers: $(VENV)/ready
	$(BIN)/lint-imports

# The site in build/site; a broken link fails it
docs: $(VENV)/docs-ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(VENV)/docs-ready: pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt "$$(sed -n 's/^docs = \["\(.*\)"\].*/\1/p' pyproject.toml)"
	touch $@

# Then what old requirements of others stand in the way of: overrides.txt says which
$(VENV)/ready: pyproject.toml constraints.txt overrides.txt
	python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[all,test]'
	$(BIN)/pip uninstall --quiet --yes opencv-python opencv-python-headless
	$(BIN)/pip install --quiet --no-deps --requirement overrides.txt
	touch $@

# Chromium, fonts and an OCR engine, for the tests that need them
debian:
	@missing=$$(for p in $(DEBIAN); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if ! command -v apt-get >/dev/null; then echo "not Debian: tests that need $$missing are skipped"; exit 0; fi; \
	as_root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	$$as_root apt-get update -qq && $$as_root apt-get install -qq --no-install-recommends $$missing >/dev/null

# Every parser of ours on damaged input, for about five minutes; what fails is shown, and kept in .hypothesis
fuzz: $(VENV)/ready
	FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-2000} $(BIN)/pytest --timeout 600 tests/fuzz

# An hour of runs that are killed, run out of disk, lose their clock and their network, and go on: the same bytes
soak: $(VENV)/ready
	$(BIN)/python -m tests.soak --minutes $${SOAK_MINUTES:-60} --seed $${SOAK_SEED:-1}

# requirements.lock: every version with the hashes of its files, for all but PyTorch, whose builds differ by index
LOCKED := pdf html synthdog dedup tokenizers
lock: $(VENV)/ready
	$(BIN)/pip install --quiet --target $(VENV)/tools uv
	$(VENV)/tools/bin/uv pip compile pyproject.toml $(LOCKED:%=--extra %) --universal --python-version 3.11 \
		--constraint constraints.txt --override overrides.txt --generate-hashes --no-annotate --quiet \
		--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' --output-file requirements.lock

# Known advisories of what the lock names; asks PyPI, and fails where that cannot be had or does not know a version
audit:
	python3 -m venv $(VENV)-audit
	$(VENV)-audit/bin/pip install --quiet pip-audit
	$(VENV)-audit/bin/pip-audit --requirement requirements.lock --no-deps --require-hashes --disable-pip --strict

# What is installed here, as a CycloneDX bill of materials: sbom.json
sbom: $(VENV)/ready
	$(BIN)/pip install --quiet --target $(VENV)/tools cyclonedx-bom
	PYTHONPATH=$(VENV)/tools $(BIN)/python -m cyclonedx_py environment $(BIN)/python --output-reproducible -o sbom.json

# The scorer against plain open_clip, on one CUDA GPU
bench-gpu: $(VENV)/ready
	$(BIN)/python -m benchmarks.scorer ViT-L-14 --pairs 20000 --device cuda
	$(BIN)/python -m benchmarks.scorer ViT-B-32 --pairs 40000 --device cuda
