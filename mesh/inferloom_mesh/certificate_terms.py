"""Until when the certificates and authorities in use are good, for Prometheus.

What is told is what would be shown or asked for now. So it follows files that are replaced, and stays what it
is where those that are there now are not used.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache

from inferloom_mesh.metrics import Labels, Metrics
from inferloom_mesh.security import Security
from inferloom_mesh.tls_reading import Shown, Term, longest_term, term_of

Pem = Callable[[], bytes | None]
"""Gives what is in use now, in PEM; None: nothing is."""

# A scrape comes every few seconds, and what it asks of changes every few weeks.
_term_of, _longest_term = lru_cache(64)(term_of), lru_cache(64)(longest_term)


class CertificateTerms:
    """What a service shows and goes by, told as gauges of Unix seconds by what it is for.

    Args:
        metrics: Where it is told. Of several processes the nearest end counts: one of them may not have taken
            up what was replaced.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._held: dict[Labels, tuple[Callable[[bytes], Term], Pem]] = {}
        metrics.gauge(
            "inferloom_certificate_not_after_timestamp_seconds",
            "When a certificate, or the last of some authorities, ends that is in use.",
            ("use", "kind"),
            lambda: ((labels, term.ends.timestamp()) for labels, term in self._terms()),
            merged="smallest",
        )
        metrics.gauge(
            "inferloom_certificate_not_before_timestamp_seconds",
            "When it begins: how long it is good as a whole says when it is renewed.",
            ("use", "kind"),
            lambda: ((labels, term.begins.timestamp()) for labels, term in self._terms()),
            merged="smallest",
        )

    def certificate(self, use: str, pem: Pem) -> None:
        """Tell of a certificate; those that follow it are its issuer's affair."""
        self._held[use, "certificate"] = _term_of, pem

    def authorities(self, use: str, pem: Pem) -> None:
        """Tell of authorities by that which ends last: others are there while one takes another's place."""
        self._held[use, "authority"] = _longest_term, pem

    def mesh(self, security: Security) -> None:
        """Tell of what a service shows its peers and knows them by."""
        if (files := security.tls) is not None:
            self.certificate("mesh", lambda: files.current().certificate)
            self.authorities("mesh", lambda: files.current().authorities)

    def outside(self, use: str, shown: Callable[[], Shown | None]) -> None:
        """Tell of what a service that is not of the mesh is shown and known by."""
        self.certificate(use, lambda: None if (now := shown()) is None else now.certificate)
        self.authorities(use, lambda: None if (now := shown()) is None else now.authorities)

    def _terms(self) -> Iterator[tuple[Labels, Term]]:
        for labels, (read, held) in self._held.items():
            if (pem := held()) is not None:
                yield labels, read(pem)
