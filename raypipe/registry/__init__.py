"""Read and write the rows of the ml_* tables, and nothing else."""
