"""Runnable scripts that choose numbers: `python -m experiments` lists them."""
