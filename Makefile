# Everything runs in .venv, which is made and filled on first use. VENV=path uses another.
VENV ?= .venv
BIN := $(VENV)/bin
DEBIAN := chromium bubblewrap fontconfig tesseract-ocr tesseract-ocr-chi-sim \
	$(shell grep -o 'package = "[^"]*' synthdog/fonts.toml | cut -d'"' -f2 | sort -u)

.PHONY: test check lint types layers fuzz sbom docs bench-gpu debian
test: debian $(VENV)/ready
	$(BIN)/pytest

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

$(VENV)/ready: pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[all,test]'
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

# What is installed here, as a CycloneDX bill of materials: sbom.json
sbom: $(VENV)/ready
	$(BIN)/pip install --quiet --target $(VENV)/tools cyclonedx-bom
	PYTHONPATH=$(VENV)/tools $(BIN)/python -m cyclonedx_py environment $(BIN)/python --output-reproducible -o sbom.json

# The scorer against plain open_clip, on one CUDA GPU
bench-gpu: $(VENV)/ready
	$(BIN)/python -m benchmarks.scorer ViT-L-14 --pairs 20000 --device cuda
	$(BIN)/python -m benchmarks.scorer ViT-B-32 --pairs 40000 --device cuda
