"""Slurm as a second engine, through its command-line tools."""
