"""The REST that MLflow's clients speak, over the same services as everything else."""
