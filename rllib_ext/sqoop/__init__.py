"""SQOOP."""
