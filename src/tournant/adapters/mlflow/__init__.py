"""MLflow's stores, as an import reads them: tracking servers, `mlruns` folders and MLflow's own databases."""
