"""nginx: its main configuration, its check, its reload."""
