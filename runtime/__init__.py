"""Composition: settings, services, processes and the devices behind them."""
