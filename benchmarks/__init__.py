"""One script a claim: ``python -m benchmarks.<name>``. README.md is the table of claims."""
