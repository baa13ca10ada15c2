"""How fast the core is, beside what a user would otherwise write: ``python -m benchmarks.report``."""
