/** How a member of Postgres starts, with stand-ins for the programs that it starts. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

const places = ["run/secrets/groundwork", "etc/groundwork/patroni", "etc/groundwork/patroni-settings"];

let root = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "patroni-"));
  for (const place of ["bin", ...places]) mkdirSync(join(root, place), { recursive: true });
  const [secrets = "", patroni = "", settings = ""] = places.map((place) => join(root, place));
  for (const name of ["tls.pem", "replication-password", "rewind-password"])
    writeFileSync(join(secrets, name), name);
  writeFileSync(join(patroni, "patroni.yml"), "scope: postgres\n");
  writeFileSync(join(patroni, "keep.sh"), "");
  writeFileSync(join(settings, "settings.yml"), "");
  writeFileSync(join(settings, "cluster.yml"), "max_connections: 100\n");
  const script = readFileSync(
    join(import.meta.dirname, "../../k8s-manifests/patroni/start.sh"),
    "utf8",
  ).replaceAll(/\/(etc\/groundwork|run\/(secrets|patroni)|var\/lib)/g, `${root}$&`);
  writeFileSync(join(patroni, "start.sh"), script);
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

const program = (name: string, text: string): void => {
  writeFileSync(join(root, "bin", name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
};

test("a member brings the cluster's settings along however long its first copy of the data takes", () => {
  // It follows from the 200th question on; each wait is over at once, but for the one between heartbeats, which ends them.
  program("psql", `echo >>${root}/asked; [ "$(wc -l <${root}/asked)" -lt 200 ] || echo t`);
  program("patronictl", `echo "$*" >>${root}/brought`);
  program("sleep", `[ "$1" != 15 ]`);
  program("patroni", "");
  const env = { PATH: `${join(root, "bin")}:${process.env["PATH"] ?? ""}`, POD_NAME: "postgres-1" };
  const start = join(root, "etc/groundwork/patroni/start.sh");
  const { status, stderr } = spawnSync("sh", [start], {
    env: { ...env, POD_NAMESPACE: "data", POD_IP: "192.0.2.1" },
    encoding: "utf8",
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(readFileSync(join(root, "brought"), "utf8")).toMatch(
    /edit-config .*--apply .*cluster\.yml postgres$/m,
  );
});
