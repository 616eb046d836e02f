"""Card production: orders, batches, stock, stations, card art, quality and dispatch."""
