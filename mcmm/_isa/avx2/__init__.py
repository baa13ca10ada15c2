"""The compiled core for AVX2; empty where that build was not made."""
