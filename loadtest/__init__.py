"""Benchmarks over HTTP: what they measure is the running system. They know nothing of its insides."""
