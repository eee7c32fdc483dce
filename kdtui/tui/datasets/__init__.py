"""Importing datasets in the app."""
