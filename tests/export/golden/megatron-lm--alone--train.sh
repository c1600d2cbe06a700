#!/usr/bin/env bash
# Llama 3 8B on 2 x 8 h100-sxm-80gb (DGX H100 SuperPOD, InfiniBand NDR), for megatron-lm.
# Plan: dp 4, pp 2, cp 2, vpp 17, micro-batch 1, ZeRO 1, recompute none;
# global batch 64 of 8,192 tokens, bf16.
# Predicted: 3.248 s per step (80 % of runs: 2.85 to 3.77 s), MFU 59.0 % of the bf16 peak.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# Checkpoints are saved there, and a run goes on from the last of them.
export CHECKPOINTS="${CHECKPOINTS:-$here/checkpoints}"
export CUDA_DEVICE_MAX_CONNECTIONS=${CUDA_DEVICE_MAX_CONNECTIONS:-1}
: "${NODE_RANK:?the number of this node, from 0 to 1}"
: "${MASTER_ADDR:?the name or address of node 0}"
: "${MASTER_PORT:=29500}"
torchrun=(
  torchrun --nnodes 2 --nproc-per-node 8
  --node-rank "$NODE_RANK" --master-addr "$MASTER_ADDR" --master-port "$MASTER_PORT"
)
# the model and its kernels
model=(
  --num-layers 32
  --hidden-size 4096
  --ffn-hidden-size 14336
  --num-attention-heads 32
  --group-query-attention
  --num-query-groups 8
  --kv-channels 128
  --normalization RMSNorm
  --norm-epsilon 1e-05
  --disable-bias-linear
  --hidden-dropout 0.0
  --attention-dropout 0.0
  --attention-backend flash
  --bf16
  --swiglu
  --seq-length 8192
  --max-position-embeddings 8192
  --position-embedding-type rope
  --rotary-base 500000
  --rotary-percent 1.0
  --untie-embeddings-and-output-weights
  --make-vocab-size-divisible-by 128
)
# the plan: parallelism, batch and recomputation
parallel=(
  --tensor-model-parallel-size 1
  --pipeline-model-parallel-size 2
  --pipeline-model-parallel-layout 'E|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|L'
  --context-parallel-size 2
  --cp-comm-type p2p
  --accumulate-allreduce-grads-in-fp32
  --overlap-grad-reduce
  --use-distributed-optimizer
  --overlap-param-gather
)
training=(
  --micro-batch-size 1
  --global-batch-size 64
  --train-iters 190735
  --save-interval 11195
)
# the plan does not determine these: choose them
yours=(
  --lr 3.0e-4
  --min-lr 3.0e-5
  --lr-decay-style cosine
)

: "${MEGATRON_LM:?the folder of Megatron-LM, with pretrain_gpt.py}"
# Without arguments of your own (--data-path, --tokenizer-type, ...) it runs on synthetic data.
if (( $# == 0 )); then
  set -- --mock-data --tokenizer-type NullTokenizer --vocab-size 128255
fi
exec "${torchrun[@]}" "$MEGATRON_LM/pretrain_gpt.py" \
  "${model[@]}" "${parallel[@]}" "${training[@]}" --save "$CHECKPOINTS" --load "$CHECKPOINTS" \
  ${EXIT_MINUTES:+--exit-duration-in-mins "$EXIT_MINUTES"} "${yours[@]}" "$@"
