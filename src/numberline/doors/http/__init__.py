"""The HTTP door: wall, certificates, application and telemetry."""
