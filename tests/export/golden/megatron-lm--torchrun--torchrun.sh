#!/usr/bin/env bash
# Llama 3 8B on 2 x 8 h100-sxm-80gb (DGX H100 SuperPOD, InfiniBand NDR), for megatron-lm.
# Plan: dp 4, pp 2, cp 2, vpp 17, micro-batch 1, ZeRO 1, recompute none;
# global batch 64 of 8,192 tokens, bf16.
# Predicted: 3.248 s per step (80 % of runs: 2.85 to 3.77 s), MFU 59.0 % of the bf16 peak.
set -euo pipefail
# Run it on node i, from 0 to 1: bash torchrun.sh MASTER_ADDR i
MASTER_ADDR=${1:?the name or address of node 0}
NODE_RANK=${2:?the number of this node, from 0 to 1}
shift 2
export MASTER_ADDR NODE_RANK
exec bash "$(dirname -- "${BASH_SOURCE[0]}")/train.sh" "$@"
