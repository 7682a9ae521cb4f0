"""What connects consentkit with other libraries. Most need an extra."""
