"""Rounds of training: each adds types to the pipeline of the round before."""
