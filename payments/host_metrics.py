"""Counters of the purse host for Prometheus: messages, answers, batches, connections, what was cut off and why."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)


class HostMetrics:
    """The figures of one host, in a registry of its own, so that several may live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.messages = Counter(
            "purse_messages", "requests taken in, by type", ("mti",), registry=self.registry
        )
        self.answers = Counter(
            "purse_answers", "answers sent, by response code", ("code",), registry=self.registry
        )
        self.closed = Counter(
            "purse_connections_closed", "connections we closed, by reason", ("reason",),
            registry=self.registry,
        )  # fmt: skip
        self.dropped = Counter(
            "purse_requests_dropped", "requests left unanswered, by reason", ("reason",),
            registry=self.registry,
        )  # fmt: skip
        self.failures = Counter(
            "purse_batch_failures", "batches that ended in an unexpected error",
            registry=self.registry,
        )  # fmt: skip
        self.connections = Gauge("purse_connections", "open connections", registry=self.registry)
        self.batches = Histogram(
            "purse_batch_requests", "requests decided in one transaction", buckets=BATCH_SIZES,
            registry=self.registry,
        )  # fmt: skip

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)
