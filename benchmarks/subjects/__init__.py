"""What is measured: one module each, with ``figures(ground, effort)``."""
