# What a person types. Each target works in a fresh clone: it brings the machine up (scripts/bootstrap) and builds first.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help bootstrap build test oracle learn trust fuzz demo screenshots cuda bench format lint clean

# Build jobs, and tests that run side by side.
JOBS ?= $(shell nproc)
TEST_JOBS ?= 2
export JOBS

# Tracked files and new ones that are not ignored.
SOURCES = $(shell git ls-files --cached --others --exclude-standard -- '*.h' '*.cc' '*.cu' '*.cuh')

help:
	@echo 'make build   bootstrap the machine and build into build/'
	@echo 'make test    build, and run every test'
	@echo 'make oracle  build, and compare models, tokenizers and templates with transformers'
	@echo 'make learn   build, and check what every algorithm learns on a small task (half an hour or more)'
	@echo 'make trust   build, and break runs in every way: nothing lost, nothing learned twice (up to an hour)'
	@echo 'make fuzz    give the readers of foreign files RUNS (1000000) broken ones each, under sanitizers'
	@echo 'make demo    build the program, and train a small word model from nothing on this CPU'
	@echo 'make screenshots  build, and take the pictures of docs/images (needs chromium; a few minutes)'
	@echo 'make cuda    build everything with CUDA into build-cuda/, and run the GPU tests where a GPU is, their twins anywhere'
	@echo 'make bench   build, and measure this machine'
	@echo 'make format  rewrite the sources with clang-format'
	@echo 'make lint    check the format and the walls between the rooms'
	@echo 'make clean   remove the build folders'

bootstrap:
	@scripts/bootstrap

build: bootstrap
	cmake --preset release
	cmake --build build -j $(JOBS)

test: build
	ctest --test-dir build --output-on-failure -j $(TEST_JOBS)

oracle: build
	@python=$$(tests/oracle/setup) && PYTHONDONTWRITEBYTECODE=1 "$$python" tests/oracle/run_all.py

# From the beginning: what an older build has learned proves nothing about this one.
learn: build
	rm -rf build/learn
	scripts/learn

trust: build
	scripts/trust

RUNS ?= 1000000
fuzz:
	@scripts/bootstrap --fuzz
	cmake --preset fuzz
	cmake --build build-fuzz -j $(JOBS) --target fuzzers
	RUNS=$(RUNS) scripts/fuzz

# The program alone, and a name of its own each time, because a used run name is refused.
demo: bootstrap
	cmake --preset release
	cmake --build build -j $(JOBS) --target sluice
	build/sluice run recipes/shakespeare_words.toml --name demo-$$(date +%Y%m%d-%H%M%S)

screenshots: build
	SLUICE_SCREENSHOTS=$(CURDIR)/docs/images build/app_test --gtest_filter='Screenshots.*'

cuda: bootstrap
	cmake --preset cuda
	cmake --build build-cuda -j $(JOBS)
	ctest --test-dir build-cuda --output-on-failure -L gpu

bench: build
	build/sluice bench

format: bootstrap
	clang-format -i $(SOURCES)

lint: bootstrap
	clang-format --dry-run -Werror $(SOURCES)
	python3 tests/walls_test.py

clean:
	rm -rf build build-*
