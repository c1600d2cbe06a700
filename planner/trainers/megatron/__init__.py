"""Programs over Megatron's layers: Megatron-LM, Megatron-Bridge, NeMo, Megatron-DeepSpeed, MindSpeed."""
