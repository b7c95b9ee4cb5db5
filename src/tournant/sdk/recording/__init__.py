"""Calls of a training script on their way to tournant: made in the background, kept on disk until they are answered."""
