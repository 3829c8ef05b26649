"""`secateur-sweep`: takes garbage out of the blob store now, or only counts it."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing

from secateur.store import Store
from secateur.store.gc import Collector
from secateur.store.logs import configure_logs
from secateur.store.settings import Settings
from secateur.store.startup import check_blobs, check_migrated, starting


def main() -> None:
    """Sweeps once and prints, as JSON, what was done. Entry point of `secateur-sweep`."""
    parser = argparse.ArgumentParser(prog="secateur-sweep", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="only count")
    dry_run: bool = parser.parse_args().dry_run
    configure_logs("ERROR")  # an outage is told once, and standard output is for the counts alone
    with starting("secateur-sweep"):
        settings = Settings()
        check_migrated(settings.database_url)
        check_blobs(settings.blob_url)
        with closing(Store(settings.database_url, timeouts=settings.database_timeouts)) as store:
            found = Collector(store, settings.blob_url, settings.ages).sweep(dry_run=dry_run)
    sys.stdout.write(json.dumps(found.counts()) + "\n")
