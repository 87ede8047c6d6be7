#!/usr/bin/python3
"""Results of peers.sh: medians of the runs, and Trunkline's deliveries as a multiple of each peer's."""

import json
import statistics
import sys


def read(path):
    """{scenario: {server: [(deliveries a second, server CPU us each, lost and doubled)]}}"""
    results = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            r = json.loads(line)
            server, scenario = r["label"].split("|")
            if "del_s" in r:  # wsload
                row = (r["del_s"], r["srv_us"], r["lost"] + r["dup"])
            else:
                faults = r["lost"] + r["duplicated"]
                row = (r["delivered_per_s"], r["cpu_us_per_delivery"]["server"], faults)
            results.setdefault(scenario, {}).setdefault(server, []).append(row)
    return results


def main():
    for scenario, servers in read(sys.argv[1]).items():
        print(f"{scenario:20}{'delivered/s':>30}{'CPU us each':>14}{'faults':>8}{'trunkline is':>15}")
        ours = statistics.median(row[0] for row in servers["trunkline"])
        for server, rows in servers.items():
            rates, cpu, faults = zip(*rows)
            rate = statistics.median(rates)
            text = f"{rate:.0f} ({min(rates):.0f}-{max(rates):.0f})"
            print(f"  {server:18}{text:>30}{statistics.median(cpu):14.2f}{sum(faults):8}"
                  f"{ours / rate:13.2f} x")
        print()


main()
