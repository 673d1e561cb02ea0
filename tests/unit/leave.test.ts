/** What a member of Postgres does before it stops, before a Patroni that is told of. That it loses nothing, `make chaos` shows. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tool } from "./tools.ts";

const program = join(import.meta.dirname, "../../k8s-manifests/patroni");
const oneStep = `
import json, sys
sys.path.insert(0, sys.argv[1])
import leave
told = json.loads(sys.argv[2])
asked = []
def ask(url, method="GET", body=None, token=""):
    if method != "GET":
        asked.append([method, url.removeprefix("http://10.0.0.7:8008"), body])
    return {"members": told["members"]} if url.endswith("/cluster") else {"replication": told["replication"]}
leave.ask = ask
print(json.dumps({"done": leave.handed_over(told["own"], told["wanted"]), "asked": asked}))
`;

interface Told {
  readonly own: string;
  readonly wanted: number;
  readonly members: readonly (readonly [role: string, state: string])[];
  readonly followers?: readonly string[];
}

function step({ own, wanted, members, followers = [] }: Told): unknown {
  const told = {
    own,
    wanted,
    members: members.map(([role, state], number) => {
      return { name: `postgres-${number}`, role, state, api_url: `http://${number}/patroni` };
    }),
    replication: followers.map((sync_state) => ({ sync_state })),
  };
  const env = { ...process.env, POD_IP: "10.0.0.7" };
  const args = ["-B", "-c", oneStep, program, JSON.stringify(told)];
  return JSON.parse(execFileSync(tool("python3"), args, { encoding: "utf8", env }));
}

const leader = ["leader", "running"] as const;
const follower = ["quorum_standby", "streaming"] as const;
const starting = ["replica", "starting"] as const;
const waitForNobody = ["PATCH", "/config", { synchronous_mode: false, synchronous_mode_strict: false }];

test.each<[string, Told, { done: boolean; asked: unknown[] }]>([
  [
    "that leads hands the lead to one that stays and follows",
    { own: "postgres-2", wanted: 2, members: [starting, follower, leader] },
    { done: false, asked: [["POST", "/switchover", { leader: "postgres-2", candidate: "postgres-1" }]] },
  ],
  [
    "that leads keeps the lead while none that stays follows, and the others are waited for",
    { own: "postgres-1", wanted: 1, members: [starting, leader, follower] },
    { done: false, asked: [] },
  ],
  [
    "that follows waits for the other one that leaves to hand over",
    { own: "postgres-2", wanted: 1, members: [follower, leader, follower] },
    { done: false, asked: [] },
  ],
  [
    "does nothing while nobody leads",
    { own: "postgres-2", wanted: 1, members: [follower, starting, follower] },
    { done: false, asked: [] },
  ],
  [
    "has the one that stays wait for nobody, and goes once it does not",
    { own: "postgres-2", wanted: 1, members: [leader, follower, follower], followers: ["async", "quorum"] },
    { done: false, asked: [waitForNobody] },
  ],
  [
    "goes when the one that stays waits for nobody",
    { own: "postgres-2", wanted: 1, members: [leader, follower, follower], followers: ["async", "async"] },
    { done: true, asked: [waitForNobody] },
  ],
  [
    "leaves those that stay waiting for each other",
    { own: "postgres-4", wanted: 3, members: [leader, follower, follower, follower, follower] },
    { done: true, asked: [] },
  ],
])("a member that leaves for good %s", (_, told, expected) => {
  expect(step(told)).toEqual(expected);
});
