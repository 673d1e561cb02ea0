"""
Before a member stops: one that leaves for good, because fewer are wanted, hands over what hangs on it.

The kubelet runs this in the container that it is about to stop. The lead goes to a member that stays, which has by then
every write that was acknowledged, and where a single one stays, it waits for nobody any more. A member that only
restarts is left to Patroni.
"""

import json
import os
import ssl
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, TypedDict

# The pod has a minute, and its server needs some of it to end well.
DEADLINE_SECONDS = 40
ANSWER_SECONDS = 5
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Member(TypedDict):
    """What Patroni says of a member."""

    name: str
    role: str
    state: str
    api_url: str


def ask(url: str, method: str = "GET", body: object = None, token: str = "") -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, headers, method=method)
    tls = ssl.create_default_context(cafile=ACCOUNT / "ca.crt")
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS, context=tls) as answer:
        text = answer.read().decode()
    return json.loads(text) if text.startswith("{") else text


def patroni(path: str, method: str = "GET", body: object = None) -> Any:
    # By the address of a member: Patroni takes orders from no other.
    return ask(f"http://{os.environ['POD_IP']}:8008{path}", method, body)


def wanted_members(name: str, namespace: str) -> int:
    server = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    url = f"{server}/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}"
    return int(ask(url, token=(ACCOUNT / "token").read_text())["spec"]["replicas"])


def handed_over(own: str, wanted: int) -> bool:
    """Does the next thing that is to be done for it, if anything still is."""
    members: list[Member] = patroni("/cluster")["members"]
    stay = [member for member in members if ordinal(member["name"]) < wanted]
    lead = next((member for member in members if member["role"] == "leader"), None)
    if lead is None:
        return False
    if lead not in stay:
        candidate = next((member["name"] for member in stay if member["state"] == "streaming"), None)
        if lead["name"] == own and candidate:
            patroni("/switchover", "POST", {"leader": own, "candidate": candidate})
        return False
    if wanted > 1:
        return True
    patroni("/config", "PATCH", {"synchronous_mode": False, "synchronous_mode_strict": False})
    followers = ask(lead["api_url"]).get("replication", [])
    return all(follower["sync_state"] == "async" for follower in followers)


def ordinal(member: str) -> int:
    return int(member.rpartition("-")[2])


def main() -> int:
    own, namespace = os.environ["POD_NAME"], os.environ["POD_NAMESPACE"]
    try:
        wanted = wanted_members(own.rpartition("-")[0], namespace)
    except OSError as error:
        print(f"how many members are wanted is not known: {error}", file=sys.stderr)
        return 1
    # None at all: the whole cluster rests.
    if wanted == 0 or ordinal(own) < wanted:
        return 0
    complaint: object = "no member that stays takes the lead"
    end = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < end:
        try:
            if handed_over(own, wanted):
                return 0
        except OSError as error:
            complaint = error
        time.sleep(1)
    print(f"{own} leaves without having handed over: {complaint}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
