"""Environment builders."""
