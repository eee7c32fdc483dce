"""LoRA fine-tuning with transformers and peft: `python -m models.sft JOB_DIR`.

This travels to GPU hosts: it needs torch, transformers, peft, accelerate and safetensors, and of kdtui the package
`models` alone.
"""
