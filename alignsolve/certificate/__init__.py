"""The proof: best responses to prices, the dual bound, the exchange graph, and the verdict."""

from alignsolve.certificate.certificate import Certificate, certify

__all__ = ["Certificate", "certify"]
