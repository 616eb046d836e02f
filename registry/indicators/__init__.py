"""Indicators: counted, sampled or estimated figures with their denominators, intervals and verdicts."""
