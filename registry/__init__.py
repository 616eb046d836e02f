"""The registers: residence, employment and rental house, joined by exchange; dormancy and acceptance points."""
