"""The web shell: REST API with OpenAPI documents and the console's pages. Holds no rules of its own."""
