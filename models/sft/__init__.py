"""LoRA fine-tuning with transformers and peft: `python -m models.sft JOB_DIR`.

This package is sent to GPU hosts. It needs torch, transformers, peft, accelerate and safetensors, and of kdtui only the
package `models`.
"""
