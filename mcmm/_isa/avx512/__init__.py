"""The compiled core for AVX-512; empty where that build was not made."""
