"""Limits with a certificate."""
