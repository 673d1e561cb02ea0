/** `make open`, as a person runs it. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { repository } from "../../local/stack.ts";
import { waitFor } from "./support.ts";

test("`make open` says where the web interfaces are, and they answer there", async () => {
  const program = join(repository, "local", "groundwork");
  const running = spawn(program, ["open"], { detached: true, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [running.stdout, running.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
  }
  try {
    for (const service of ["prometheus", "alertmanager"]) {
      await waitFor(`an answer of ${service}`, 60, async () => {
        const [, address = ""] = new RegExp(`^${service}: (http://localhost:\\d+)$`, "m").exec(said) ?? [];
        expect(address, said).not.toBe("");
        expect((await fetch(`${address}/-/ready`)).status).toBe(200);
      });
    }
  } finally {
    // The forwards are processes of their own, in its group.
    if (running.pid !== undefined) process.kill(-running.pid);
  }
});
