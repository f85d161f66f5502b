"""Commonsense knowledge-base completion: triples of free phrases, their scorers, and how novel what they score is."""
