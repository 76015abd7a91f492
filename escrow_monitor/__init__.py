"""Watch the escrow accounts that hold families' prepaid tuition, and say so before the money is gone."""
