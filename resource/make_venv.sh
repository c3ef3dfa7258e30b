#!/usr/bin/env bash
# Make $VENV with the package (editable), its ROS messages and every tool. `make venv` runs this and
# sets the variables; Makefile says what they mean.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${PYTHON:=python3}" "${VENV:=.venv}" "${TORCH:=}" "${PIP_ARGS:=}"

say() { printf 'venv: %s\n' "$*"; }
die() { printf 'venv: %s\n' "$*" >&2; exit 1; }
has_python() { "$PYTHON" -c "$1" >/dev/null 2>&1; }
# ldconfig is in sbin, which is not on everybody's PATH. No grep -q: ldconfig would die of SIGPIPE.
has_library() { PATH="$PATH:/sbin:/usr/sbin" ldconfig -p | grep "$1" >/dev/null; }

# What pip cannot bring. `needed` stops us, `wanted` only open3d's import (mapping).
missing_packages() {
  needed=() wanted=()
  has_python 'import venv, ensurepip' || needed+=(python3-venv)
  has_python 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' ||
    needed+=(python3-dev)
  command -v cmake >/dev/null || needed+=(cmake)
  command -v c++ >/dev/null || needed+=(g++)
  has_library libusb-1.0.so.0 || wanted+=(libusb-1.0-0)
  has_library libGL.so.1 || wanted+=(libgl1)
  has_library libgomp.so.1 || wanted+=(libgomp1)
}

command -v "$PYTHON" >/dev/null ||
  die "$PYTHON not found: install Python 3.10 or newer, or name it: make venv PYTHON=/path/to/python3"
has_python 'import sys; sys.exit(sys.version_info < (3, 10))' ||
  die "$PYTHON is $("$PYTHON" -V 2>&1), expected 3.10 or newer: make venv PYTHON=/path/to/python3"

missing_packages
if ((${#needed[@]} + ${#wanted[@]})); then
  if ((EUID == 0)) && command -v apt-get >/dev/null; then
    say "installing ${needed[*]} ${wanted[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends \
      "${needed[@]}" "${wanted[@]}" >/dev/null || say 'apt-get failed'
    missing_packages
  fi
  ((${#needed[@]} == 0)) ||
    die "missing ${needed[*]}: sudo apt install ${needed[*]} ${wanted[*]}, then make venv again"
  ((${#wanted[@]} == 0)) ||
    say "going on without ${wanted[*]}, which open3d (mapping) needs: sudo apt install ${wanted[*]}"
fi

[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
# --no-compile: most of those modules are never imported.
# shellcheck disable=SC2086 # PIP_ARGS is a list of words
install() { "$VENV/bin/python" -m pip install -q --no-compile --disable-pip-version-check $PIP_ARGS "$@"; }

# PyTorch: the index of Python packages serves the CUDA build, gigabytes that a machine without an
# NVIDIA GPU has no use for. The small CPU build comes from wherever pip is set up to find it, else
# through uv, which knows where PyTorch keeps its builds.
install_torch() {
  if [ -n "$TORCH" ]; then
    install "$TORCH"
    return
  fi
  local torch
  torch=$(sed -n '/^torch==/p' resource/constraints.txt)
  if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
    say "installing $torch for CUDA"
    install "$torch"
  else
    say "installing $torch for CPU"
    install "$torch+cpu" 2>/dev/null && return
    { install uv && "$VENV/bin/uv" pip install -q --python "$VENV/bin/python" \
      --torch-backend cpu "$torch"; } 2>/dev/null && return
    say 'no CPU build found: installing the CUDA build, several gigabytes (or set TORCH, PIP_ARGS)'
    install "$torch"
  fi
}

"$VENV/bin/python" -c 'import torch' 2>/dev/null || install_torch
say 'installing the package, its tools and the ROS messages'
install -c resource/constraints.txt -e '.[ros,models,mapping,train,datasets,dev]'
# Into a new environment they came together with the ROS wheels, and so without the messages.
"$VENV/bin/python" -c 'import metric_depth_ros.msg' 2>/dev/null ||
  "$VENV/bin/python" resource/build_messages.py >/dev/null
"$VENV/bin/python" -c 'import metric_depth_ros.msg, rclpy, torch' || die 'the messages do not import'
say "$VENV is ready"
