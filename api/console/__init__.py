"""Server-drawn pages for the people at the machines and for auditors."""
