"""Scripts that measure and print a table; run from the project's folder."""
