"""Runs the jobs of a file, all at the same time, and writes their results to another file."""

import importlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor

from defaults import DEFAULTS


def run(job):
    try:
        client = job["client"]
        charge = DEFAULTS[client] if job["kind"] == "default" else importlib.import_module(client).charge
        return {"key": job["key"], "reply": charge(job["url"], job["key"], job["body"], job["timeout_ms"] / 1000)}
    except Exception as error:
        return {"key": job["key"], "error": repr(error)}


jobs_file, results_file = sys.argv[1:]
with open(jobs_file) as file:
    jobs = json.load(file)
with ThreadPoolExecutor(max_workers=len(jobs)) as pool:
    results = list(pool.map(run, jobs))
with open(results_file, "w") as file:
    json.dump(results, file)
