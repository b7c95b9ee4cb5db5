"""Servers of the same model in other frameworks, each as its documentation has it; run in environments of their own."""
