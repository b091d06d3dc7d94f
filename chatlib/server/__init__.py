"""The server's edge: sessions, fan-out, the commit pipeline, the console. Where all other parts meet."""
