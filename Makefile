# Every target creates the environment that it needs. Only Python 3.11 or newer must be installed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
CORES ?= all
# Size of the matrices on disk that `make bench` fits: small takes minutes, full has up to 262,144 rows and takes hours.
SCALE ?= small
VENV := .venv
BIN := $(VENV)/bin

# On this platform the sha256 of each package is known (except torch, whose build depends on the machine), and pip checks it.
# `make HASHED=` installs without the check.
HASHED := $(shell $(PYTHON) -c 'import platform as p, sys; print("yes" * (p.machine() == "x86_64" and p.libc_ver()[0] == "glibc" and sys.version_info[:2] == (3, 11)))')
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: results paper report findings unlock test lint bench clean

results: $(VENV)/installed
	$(BIN)/snakemake --cores $(CORES)
	@$(BIN)/embpress table results/scores.csv # fits the width of the terminal
	@echo
	@echo "Tables:  results/tables/   (LaTeX: main.tex, one per task, one per paper; as one PDF: make paper)"
	@echo "Figures: results/figures/  (PDF and PNG; together with all tables on one page: make report)"
	@echo "Scores:  results/scores.csv; versions, hashes and times: results/provenance.json"
	@printf "Cost:    " && $(BIN)/python -m embpress.pipeline.job_records results/provenance.json

paper: $(VENV)/installed
	$(BIN)/snakemake --cores $(CORES) results/paper/paper.pdf
	@echo "Paper:   results/paper/paper.pdf"

report: $(VENV)/installed
	$(BIN)/snakemake --cores $(CORES) results/report.html
	@echo "Report:  results/report.html (one file, opens anywhere)"

# Pages and figures of docs/findings, and README's results, from the runs that are kept there; fits nothing.
findings: $(VENV)/installed
	$(BIN)/python -m bench.findings.pages

# After a run that was killed (not stopped by Ctrl-C), and once no other run works in this folder.
unlock: $(VENV)/installed
	$(BIN)/snakemake --unlock

test: $(VENV)/installed-dev lint
	$(BIN)/python -m pytest -n auto --dist loadgroup -rs # and the reason of each skip

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check embpress bench workflow/scripts tests
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow/Snakefile workflow/rules
	$(BIN)/snakemake --lint > /dev/null

$(VENV)/installed: requirements.txt constraints.txt hashes.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11) and "embpress needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(if $(HASHED),$(PIP) --no-deps --require-hashes -r hashes.txt)
	$(PIP) -r requirements.txt -c constraints.txt
	$(PIP) --no-deps --editable .
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt hashes-dev.txt $(VENV)/installed
	$(if $(HASHED),$(PIP) --no-deps --require-hashes -r hashes-dev.txt)
	$(PIP) -r requirements-dev.txt -c constraints.txt
	@touch $@

bench: export OPENBLAS_THREAD_TIMEOUT = 4# as in the workflow's jobs
bench: $(VENV)/installed
	$(BIN)/python -m bench.fits
	$(BIN)/python -m bench.lookups
	$(BIN)/python -m bench.linears
	$(BIN)/python -m bench.counting
	$(BIN)/python -m bench.scheduler
	$(BIN)/python -m bench.study
	$(BIN)/python -m bench.scale --rows $(SCALE)

clean:
	rm -rf results/* .snakemake
	git checkout -- results/README.md
