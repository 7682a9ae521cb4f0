"""What connects consentkit with other libraries. Each module needs an extra."""
