"""The figures: what a read, a miss, a write and a statement cost, each against a floor measured in the same run.

python -m benchmarks [subject … | all] [--rounds N] [--seed S] [--json FILE] [--quick]
"""
