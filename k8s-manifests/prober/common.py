"""What both observers share."""

import json
import time


def log(level: str, message: str) -> None:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = {"timestamp": moment, "level": level, "severity": level.upper(), "message": message, "module": "prober"}
    ids = dict.fromkeys(["request_id", "trace_id", "tenant_id", "job_id"])
    print(json.dumps(line | ids, ensure_ascii=False), flush=True)
