"""Telemetry: samples of CPUs and GPUs with their age.

Owns psutil and NVML. Must never turn a missing sample into a zero, or judge one.
"""
