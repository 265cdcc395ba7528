"""Slurm as an engine, through its command-line tools: each attempt is a batch job, or pilots carry many of them.

Owns what is said to Slurm and what is believed of its answers. Slurm decides where and when; whether an attempt began,
and how it ended, is only ever read from its directory, which lies on a file system that all nodes share. Must never
conclude anything from a controller that does not answer.
"""
