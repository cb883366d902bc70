"""Checkpoints in the Hugging Face layout: a directory with ``config.json`` and ``model.safetensors``. Nothing is downloaded.

safetensors   the file format: reader (memory-mapped) and writer
directory     a checkpoint's directory: found by path or in the local cache, one file or shards
settings      config.json: what changes the maths is read or refused, never skipped
weights       tensors of a file into a parameter vector
gguf_file     the other file format, quantised weights with metadata and vocabulary in one file
gpt2, bert, llama, llama_gguf    one file an architecture: its config keys and its tensor names
"""
