"""A host's ``/metrics``, ``/healthz`` on a port of its own, loopback by default."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from payments.host_metrics import HostMetrics


@contextmanager
def health_page(metrics: HostMetrics, bind: str, port: int) -> Iterator[int]:
    """Serve for the length of a block; the port, 0 when none was wanted."""
    if not port:
        yield 0
        return

    class Page(BaseHTTPRequestHandler):
        """GET only; nothing but counters."""

        def do_GET(self) -> None:
            pages = {"/metrics": metrics.text(), "/healthz": b"ok\n"}
            body = pages.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            """The host's own log is enough."""

    server = ThreadingHTTPServer((bind, port), Page)
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
