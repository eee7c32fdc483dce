"""LoRA adapters: their files, what they were trained with, conversion between formats, and merging."""
