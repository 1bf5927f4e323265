"""Teach a pretrained NER model new entity types without forgetting the old."""

from importlib.metadata import version

__version__ = version("retainer")
