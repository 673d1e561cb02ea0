/** What a Sentinel remembers when it starts anew. That it is enough for another primary was tried with real ones. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

const manifests = join(import.meta.dirname, "../../k8s-manifests/redis");
const domain = "members.data.svc.cluster.local";
const member = (number: number) => `redis-queue-${number}.${domain}`;

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sentinel-"));
  for (const folder of ["secrets", "scripts", "data", "bin"]) mkdirSync(join(directory, folder));
  for (const name of ["app-password", "sentinel-password"])
    writeFileSync(join(directory, "secrets", name), "password");
  for (const name of ["sentinel.sh", "members.sh", "passwords.sh"])
    writeFileSync(
      join(directory, "scripts", name),
      readFileSync(join(manifests, name), "utf8")
        .replaceAll("/run/secrets/groundwork", join(directory, "secrets"))
        .replaceAll("/etc/groundwork/redis", join(directory, "scripts"))
        .replaceAll("/var/lib/redis", join(directory, "data")),
    );
  writeFileSync(join(directory, "scripts/keep.sh"), "");
  // No Sentinel answers, and each wait is over at once.
  for (const name of ["redis-cli", "redis-sentinel", "sleep"]) {
    writeFileSync(join(directory, "bin", name), "#!/bin/sh\n");
    chmodSync(join(directory, "bin", name), 0o755);
  }
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

const file = () => join(directory, "data/sentinel.conf");

/** The lines about the queue that the file has after a start of member 0, of this many. */
function started(before: readonly string[], members = 3): string[] {
  writeFileSync(file(), `${before.join("\n")}\n`);
  const env = {
    PATH: `${join(directory, "bin")}:${process.env["PATH"] ?? ""}`,
    POD_NAME: "redis-queue-0",
    MEMBERS: String(members),
    MEMBERS_DOMAIN: domain,
  };
  const { status, stderr } = spawnSync("sh", [join(directory, "scripts/sentinel.sh")], {
    env,
    encoding: "utf8",
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return readFileSync(file(), "utf8")
    .split("\n")
    .filter((line) => /^sentinel (monitor|myid|known-|config-epoch)/.test(line));
}

const id = (number: number) => String(number).repeat(40);
const learned = [
  `sentinel myid ${id(0)}`,
  `sentinel monitor queue ${member(2)} 6379 2`,
  "sentinel config-epoch queue 4",
];
const known = [
  `sentinel known-replica queue ${member(0)} 6379`,
  `sentinel known-replica queue ${member(1)} 6379`,
  `sentinel known-sentinel queue ${member(1)} 26379 ${id(1)}`,
  `sentinel known-sentinel queue ${member(2)} 26379 ${id(2)}`,
];

test("knows the primary, its replicas and the other Sentinels as before", () => {
  expect(started([...learned, ...known]).sort()).toEqual([...learned, ...known].sort());
});

test("forgets who was scaled away, and whom another has replaced", () => {
  const gone = [
    `sentinel known-replica queue ${member(3)} 6379`,
    `sentinel known-sentinel queue ${member(3)} 26379 ${id(3)}`,
    `sentinel known-sentinel queue ${member(1)} 0 ${id(9)}`,
  ];
  expect(started([...learned, ...known, ...gone]).sort()).toEqual([...learned, ...known].sort());
});

test("starts with the first member as primary where nothing was learned", () => {
  expect(started([])).toEqual([`sentinel monitor queue ${member(0)} 6379 2`]);
});
