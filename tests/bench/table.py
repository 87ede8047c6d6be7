#!/usr/bin/python3
"""Results of the load client (lines of JSON) as tables: the median of the runs, and their spread."""

import json
import statistics
import sys

MESSAGES = [
    ("published/s", "published_per_s", 1, 0),
    ("delivered/s", "delivered_per_s", 1, 0),
    ("p50 ms", "latency_ms.p50", 1, 2),
    ("p99 ms", "latency_ms.p99", 1, 2),
    ("p999 ms", "latency_ms.p999", 1, 2),
    ("CPU us/delivery", "cpu_us_per_delivery.server", 1, 2),
    ("lost", "lost", 1, 0),
    ("dup", "duplicated", 1, 0),
    ("disorder", "out_of_order", 1, 0),
    ("errors", "errors", 1, 0),
    ("RSS MiB", "rss_before", 1 << 20, 0),
    ("after", "rss_after", 1 << 20, 0),
]
CONNECTIONS = [
    ("ready", "ready", 1, 0),
    ("failed", "failed", 1, 0),
    ("connects/s", "connects_per_s", 1, 0),
    ("p50 ms", "ready_ms.p50", 1, 0),
    ("p99 ms", "ready_ms.p99", 1, 0),
    ("CPU us each", "connect_cpu_us.server", 1, 0),
    ("B each RSS", "rss_per_connection", 1, 0),
    ("B each PSS", "pss_per_connection", 1, 0),
    ("idle CPU %", "idle_cpu_percent", 1, 2),
]


def value(result, path):
    for key in path.split("."):
        result = result.get(key) if isinstance(result, dict) else None
    return result


def cell(results, path, unit, digits):
    values = [value(r, path) for r in results if value(r, path) is not None]
    if not values:
        return "-"
    values = [v / unit for v in values]
    text = f"{statistics.median(values):.{digits}f}"
    if min(values) != max(values):
        text += f" ({min(values):.{digits}f}-{max(values):.{digits}f})"
    return text


def table(title, columns, by_label):
    rows = [[title] + [name for name, *_ in columns]]
    for label, results in by_label.items():
        rows.append([label] + [cell(results, *column) for _, *column in columns])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())
    print()


def main():
    messages, connections = {}, {}
    with open(sys.argv[1], encoding="utf-8") as lines:
        for line in lines:
            result = json.loads(line)
            kind = messages if "delivered_per_s" in result else connections
            kind.setdefault(result["label"], []).append(result)
    if messages:
        table("messages", MESSAGES, messages)
    if connections:
        table("connections", CONNECTIONS, connections)


main()
