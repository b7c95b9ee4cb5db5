"""What loads native model files: each is copied beside the file it loads, as `model.py`, and runs in that model's environment."""
